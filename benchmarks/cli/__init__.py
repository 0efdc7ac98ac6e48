"""The command line, `rlvr-gap`: one file for each group of commands."""
