"""Codes: Coding, and tables that lead from a term of the case to its codings and back."""
