"""The common evaluation stage, which samples, verifies and counts, and the re-grading of stored completions."""
