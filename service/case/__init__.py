"""The form of a case: which fields a record may have, derived from a mapping set."""
