"""The doubt: experiments and checkers that break clusters and judge them."""
