"""What Terraform starts; see :mod:`aws_provider.plugin`."""

import sys

from aws_provider.plugin import main

if __name__ == "__main__":
    sys.exit(main())
