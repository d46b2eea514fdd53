"""`python -m trainer` is `tool-sft`; `accelerate launch -m trainer train …` needs this form."""

import sys

from trainer.commands.main import main

if __name__ == "__main__":
    sys.exit(main())
