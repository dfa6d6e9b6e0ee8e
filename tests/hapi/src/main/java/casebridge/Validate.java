package casebridge;

import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.DefaultProfileValidationSupport;
import ca.uhn.fhir.context.support.IValidationSupport.IssueSeverity;
import ca.uhn.fhir.validation.FhirValidator;
import ca.uhn.fhir.validation.ResultSeverityEnum;
import ca.uhn.fhir.validation.SingleValidationMessage;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
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

/**
 * HAPI's R4 validator, offline: one resource a line on standard input, one verdict a line on standard output.
 *
 * <p>Arguments: {@code --ig FILE.tgz}, repeatable, loads an FHIR NPM package. A verdict is
 * {@code {"valid", "issues": [{"severity", "location", "message", "messageId"}]}}.
 */
public final class Validate {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final Set<String> CONFORMANCE = Set.of("StructureDefinition", "ValueSet", "CodeSystem");

  public static void main(String[] args) throws IOException {
    // What libraries print must not come between the answers.
    PrintStream answers = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    System.setOut(System.err);
    FhirValidator validator = validator(FhirContext.forR4Cached(), packages(args));
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      answers.println(verdict(validator, line));
    }
  }

  private static List<Path> packages(String[] args) {
    List<Path> found = new ArrayList<>();
    for (int i = 0; i < args.length; i += 2) {
      if (!args[i].equals("--ig") || i + 1 == args.length) {
        throw new IllegalArgumentException("usage: Validate [--ig FILE.tgz]...");
      }
      found.add(Path.of(args[i + 1]));
    }
    return found;
  }

  private static FhirValidator validator(FhirContext context, List<Path> packages) throws IOException {
    PrePopulatedValidationSupport loaded = new PrePopulatedValidationSupport(context);
    for (Path file : packages) {
      load(context, file, loaded);
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
    module.setBestPracticeWarningLevel(BestPracticeWarningLevel.Ignore);
    return context.newValidator().registerValidatorModule(module);
  }

  private static void load(FhirContext context, Path file, PrePopulatedValidationSupport into) throws IOException {
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

  private static ObjectNode verdict(FhirValidator validator, String resource) {
    ArrayNode issues = JSON.createArrayNode();
    boolean valid = true;
    try {
      for (SingleValidationMessage found : validator.validateWithResult(resource).getMessages()) {
        valid &= found.getSeverity().ordinal() < ResultSeverityEnum.ERROR.ordinal();
        add(issues, found.getSeverity().getCode(), found.getLocationString(), found.getMessage(), found.getMessageId());
      }
    } catch (RuntimeException crash) {
      // HAPI throws on some inputs: text that is not JSON, deep nesting. The next line still wants its answer.
      valid = false;
      add(issues, "fatal", "", crash.toString(), "exception");
    }
    ObjectNode verdict = JSON.createObjectNode().put("valid", valid);
    verdict.set("issues", issues);
    return verdict;
  }

  private static void add(ArrayNode issues, String severity, String location, String message, String messageId) {
    issues.addObject()
        .put("severity", severity)
        .put("location", location)
        .put("message", message)
        .put("messageId", messageId);
  }
}
