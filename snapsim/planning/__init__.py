"""From questions to answers: traces, text and policies go in, the engine is called, frames come out."""
