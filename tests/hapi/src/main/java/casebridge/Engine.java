package casebridge;

import java.util.List;

/** A validator of R4 resources. */
interface Engine {
  /** What it finds in one resource, which must meet these profiles besides those that it claims. */
  List<Finding> validate(byte[] resource, List<String> profiles) throws Exception;
}
