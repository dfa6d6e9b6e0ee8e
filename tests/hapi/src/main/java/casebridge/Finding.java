package casebridge;

import java.util.Set;

/** One message; severity is a code of FHIR's issue-severity, location a FHIRPath, nearly. */
record Finding(String severity, String location, String message, String messageId) {
  private static final Set<String> ERRORS = Set.of("error", "fatal");

  boolean rejects() {
    return ERRORS.contains(severity);
  }
}
