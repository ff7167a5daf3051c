"""What each action of the command line does: one file an action, one function that gives the exit status."""
