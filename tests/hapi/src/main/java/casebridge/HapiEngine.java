package casebridge;

import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.DefaultProfileValidationSupport;
import ca.uhn.fhir.context.support.IValidationSupport.IssueSeverity;
import ca.uhn.fhir.validation.FhirValidator;
import ca.uhn.fhir.validation.SingleValidationMessage;
import ca.uhn.fhir.validation.ValidationOptions;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.hl7.fhir.common.hapi.validation.support.CommonCodeSystemsTerminologyService;
import org.hl7.fhir.common.hapi.validation.support.InMemoryTerminologyServerValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.PrePopulatedValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.SnapshotGeneratingValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.UnknownCodeSystemWarningValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.ValidationSupportChain;
import org.hl7.fhir.common.hapi.validation.validator.FhirInstanceValidator;
import org.hl7.fhir.r5.utils.validation.constants.BestPracticeWarningLevel;
import org.hl7.fhir.utilities.npm.NpmPackage;

/** HAPI's FhirInstanceValidator; its definitions of R4 are in its jars. */
final class HapiEngine implements Engine {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final Set<String> CONFORMANCE = Set.of("StructureDefinition", "ValueSet", "CodeSystem");

  private final FhirContext context = FhirContext.forR4Cached();
  private final FhirValidator validator;

  HapiEngine(List<String> packages) throws IOException {
    PrePopulatedValidationSupport loaded = new PrePopulatedValidationSupport(context);
    for (String file : packages) {
      load(Path.of(file), loaded);
    }
    // A code of a system whose content is not here (SNOMED CT, LOINC) cannot be judged: say so, but do not reject.
    UnknownCodeSystemWarningValidationSupport unknownSystems = new UnknownCodeSystemWarningValidationSupport(context);
    unknownSystems.setNonExistentCodeSystemSeverity(IssueSeverity.WARNING);
    FhirInstanceValidator module = new FhirInstanceValidator(new ValidationSupportChain(
        ValidationSupportChain.CacheConfiguration.defaultValues(),
        loaded,
        new DefaultProfileValidationSupport(context),
        new CommonCodeSystemsTerminologyService(context),
        new InMemoryTerminologyServerValidationSupport(context),
        new SnapshotGeneratingValidationSupport(context),
        unknownSystems));
    module.setAnyExtensionsAllowed(true);
    // A reference that leaves the resource is taken to exist; its type is read off its URL and checked.
    module.setAssumeValidRestReferences(true);
    // As HL7's: a profile that is not here cannot be judged, which is no fault of the resource.
    module.setErrorForUnknownProfiles(false);
    module.setBestPracticeWarningLevel(BestPracticeWarningLevel.Ignore);
    validator = context.newValidator().registerValidatorModule(module);
  }

  private void load(Path file, PrePopulatedValidationSupport into) throws IOException {
    try (InputStream archive = Files.newInputStream(file)) {
      NpmPackage npm = NpmPackage.fromPackage(archive);
      for (String name : npm.list("package")) {
        if (!name.endsWith(".json")) {
          continue;
        }
        String text = new String(npm.load("package", name).readAllBytes(), StandardCharsets.UTF_8);
        if (CONFORMANCE.contains(JSON.readTree(text).path("resourceType").asText())) {
          into.addResource(context.newJsonParser().parseResource(text));
        }
      }
    }
  }

  @Override
  public List<Finding> validate(byte[] resource, List<String> profiles) {
    ValidationOptions options = new ValidationOptions();
    profiles.forEach(options::addProfile);
    List<Finding> findings = new ArrayList<>();
    String text = new String(resource, StandardCharsets.UTF_8);
    for (SingleValidationMessage found : validator.validateWithResult(text, options).getMessages()) {
      findings.add(new Finding(
          found.getSeverity().getCode(), found.getLocationString(), found.getMessage(), found.getMessageId()));
    }
    return findings;
  }
}
