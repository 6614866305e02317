"""Questions with known answers: prompts, extraction of answers, grading."""
