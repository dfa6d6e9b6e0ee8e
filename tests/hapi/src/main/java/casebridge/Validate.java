package casebridge;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * The R4 validators of HAPI and of HL7, offline: one question a line on standard input, one verdict a line on standard
 * output.
 *
 * <p>Arguments: {@code --engine hapi|hl7}, and {@code --ig PACKAGE}, repeatable: an FHIR NPM package to load. A
 * question is {@code {"resource": BASE64, "profiles": [URL]}}, so that any bytes arrive as they are. A verdict is
 * {@code {"valid", "issues": [{"severity", "location", "message", "messageId"}]}}.
 */
public final class Validate {
  private static final ObjectMapper JSON = new ObjectMapper();

  public static void main(String[] args) throws Exception {
    // What libraries print must not come between the answers.
    PrintStream answers = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    System.setOut(System.err);
    Engine engine = engine(args);
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      answers.println(verdict(engine, JSON.readTree(line)));
    }
    // The libraries leave threads behind that would keep the process.
    System.exit(0);
  }

  private static Engine engine(String[] args) throws Exception {
    String kind = "hapi";
    List<String> packages = new ArrayList<>();
    for (int i = 0; i + 1 < args.length; i += 2) {
      switch (args[i]) {
        case "--engine" -> kind = args[i + 1];
        case "--ig" -> packages.add(args[i + 1]);
        default -> throw new IllegalArgumentException("usage: Validate [--engine hapi|hl7] [--ig PACKAGE]...");
      }
    }
    return kind.equals("hl7") ? new Hl7Engine(packages) : new HapiEngine(packages);
  }

  private static ObjectNode verdict(Engine engine, JsonNode question) throws IOException {
    List<String> profiles = new ArrayList<>();
    question.path("profiles").forEach(each -> profiles.add(each.asText()));
    List<Finding> findings;
    try {
      findings = engine.validate(question.get("resource").binaryValue(), profiles);
    } catch (Exception | LinkageError | StackOverflowError crash) {
      // They throw on some inputs: text that is not JSON, a class they forgot, deep nesting. The next line still wants
      // its answer.
      findings = List.of(new Finding("fatal", "", crash.toString(), "exception"));
    }
    ObjectNode verdict = JSON.createObjectNode().put("valid", findings.stream().noneMatch(Finding::rejects));
    ArrayNode issues = verdict.putArray("issues");
    findings.forEach(issues::addPOJO);
    return verdict;
  }
}
