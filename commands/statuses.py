"""How does a command end?"""

DONE, FAILED, WRONG_INPUT, NOT_PROMOTED, INTERRUPTED = 0, 1, 2, 3, 130
EXIT_STATUS = "Exit status: 0 done, 1 failed, 2 wrong input, 3 not promoted (--require-promotion), 130 interrupted."
GOES_ON = "finished steps are kept, and the same command goes on from there"
PREDICTED = "what is predicted is kept, and the same command goes on from there"
STARTS_ANEW = "the same command starts anew"
