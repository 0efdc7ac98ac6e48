"""The command line, `rlvr-gap`, with one file for each group of commands."""
