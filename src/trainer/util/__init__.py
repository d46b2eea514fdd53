"""What several parts need and no part owns: command line, files, progress, ordering."""
