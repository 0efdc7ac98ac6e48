"""The common evaluation stage: sample, verify, count; and grading stored completions again."""
