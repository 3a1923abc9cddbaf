"""`python -m services`: the whole stack on one machine.

PostgreSQL, a broker, the four services, and a demo network to look at.
"""

from local.command import main

if __name__ == "__main__":
    main()
