"""Turn rows of any known layout into files of this project's layout. Checks no row against its tools."""
