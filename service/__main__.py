"""`python -m service COMMAND`: the command line. What the commands do is in service.cli."""

import sys

from service.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
