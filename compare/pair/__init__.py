"""The two sides of one function: hand-written code of any form, and the reference beside it."""
