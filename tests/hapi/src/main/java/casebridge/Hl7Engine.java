package casebridge;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import org.hl7.fhir.r5.elementmodel.Manager.FhirFormat;
import org.hl7.fhir.r5.utils.validation.constants.BestPracticeWarningLevel;
import org.hl7.fhir.r5.utils.validation.constants.ReferenceValidationPolicy;
import org.hl7.fhir.utilities.settings.FhirSettings;
import org.hl7.fhir.utilities.validation.ValidationMessage;
import org.hl7.fhir.utilities.validation.ValidationMessage.IssueSeverity;
import org.hl7.fhir.validation.IgLoader;
import org.hl7.fhir.validation.ValidationEngine;
import org.hl7.fhir.validation.instance.advisor.BasePolicyAdvisorForFullValidation;

/**
 * HL7's own ValidationEngine, offline: its definitions are the packages in user.home/.fhir/packages.
 *
 * <p>The system properties casebridge.terminology and casebridge.extensions name the versions of the two packages that
 * it loads on its own account.
 */
final class Hl7Engine implements Engine {
  private static final String NO_SERVER = "Unable_to_resolve_system__value_set_has_include_with_unknown_system";
  private static final Set<String> DOUBTS =
      Set.of(NO_SERVER, "UNABLE_TO_INFER_CODESYSTEM", "Terminology_TX_NoValid_16");

  private final ValidationEngine engine;

  /** Packages by file, or by NAME#VERSION if they are in the home. */
  Hl7Engine(List<String> packages) throws Exception {
    FhirSettings.setProhibitNetworkAccess(true);
    engine = new ValidationEngine.ValidationEngineBuilder()
        .withVersion("4.0.1")
        .withThoVersion(System.getProperty("casebridge.terminology"))
        .withExtensionsVersion(System.getProperty("casebridge.extensions"))
        .withNoTerminologyServer()
        .withCanRunWithoutTerminologyServer(true)
        .fromSource("hl7.fhir.r4.core#4.0.1");
    IgLoader loader = new IgLoader(engine.getPcm(), engine.getContext(), engine.getVersion());
    for (String guide : packages) {
      loader.loadIg(engine.getIgs(), new HashMap<>(), guide, false);
    }
    engine.prepare();
    engine.setAnyExtensionsAllowed(true);
    // As HAPI does: a reference that leaves the resource or the bundle is not followed.
    engine.setAssumeValidRestReferences(true);
    engine.setPolicyAdvisor(new BasePolicyAdvisorForFullValidation(ReferenceValidationPolicy.IGNORE, Set.of()));
    engine.getDefaultInstanceValidatorParameters()
        .setExtensions(new ArrayList<>(List.of("any")))
        .setAllowExampleUrls(true)
        .setBestPracticeLevel(BestPracticeWarningLevel.Ignore)
        .setUnknownCodeSystemsCauseErrors(false);
  }

  @Override
  public List<Finding> validate(byte[] resource, List<String> profiles) throws Exception {
    List<ValidationMessage> found = new ArrayList<>();
    engine.validate(resource, FhirFormat.JSON, new ArrayList<>(profiles), found);
    Set<String> doubted = found.stream()
        .filter(each -> NO_SERVER.equals(each.getMessageId()))
        .map(ValidationMessage::getLocation)
        .collect(Collectors.toSet());
    List<Finding> findings = new ArrayList<>();
    for (ValidationMessage each : found) {
      if (!each.isSlicingHint() && !each.isSignpost() && each.getLevel() != IssueSeverity.NULL) {
        findings.add(new Finding(severity(each, doubted), each.getLocation(), each.getMessage(), each.getMessageId()));
      }
    }
    return findings;
  }

  /** A code of a system that only a terminology server has (MIME types, currencies, languages) is in doubt, not wrong. */
  private static String severity(ValidationMessage each, Set<String> doubted) {
    boolean doubt = doubted.contains(each.getLocation()) && DOUBTS.contains(String.valueOf(each.getMessageId()));
    return doubt ? "warning" : each.getLevel().toCode();
  }
}
