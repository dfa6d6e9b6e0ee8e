package casebridge;

import static java.util.Map.entry;

import java.util.Map;

/** What may be set, each as a system property hapi.NAME, with its default: HAPI's own, but where a reason is given. */
final class Setting {
    private static final String PREFIX = "hapi.";

    private static final Map<String, String> DEFAULTS = Map.ofEntries(
            // The process
            entry("port", "0"), // 0: any that is free
            entry("leash", "false"), // whether the end of standard input ends the server
            entry("db", "jdbc:h2:mem:hapi;USER=sa;DB_CLOSE_DELAY=-1"), // or jdbc:h2:file:..., jdbc:postgresql:...
            entry("log", "WARN"),
            // The server's behaviour
            entry("clientIds", "ALPHANUMERIC"), // or ANY, NOT_ALLOWED: which ids a client may choose
            entry("integrityOnDelete", "true"),
            entry("integrityOnWrite", "true"),
            entry("maxBundle", "0"), // entries in a transaction; 0: no limit
            entry("pageDefault", "20"),
            entry("pageMax", "200"),
            entry("placeholders", "false"), // whether a missing target of a reference is made
            entry("reuseSearchMs", "60000"), // how long a search is answered from memory; 0: never
            entry("validate", "false")); // whether what does not validate is refused

    private Setting() {}

    static String text(String name) {
        return System.getProperty(PREFIX + name, DEFAULTS.get(name));
    }

    static boolean flag(String name) {
        return Boolean.parseBoolean(text(name));
    }

    static int number(String name) {
        return Integer.parseInt(text(name));
    }

    /** A misspelt setting would test nothing. */
    static void refuseUnknown() {
        for (String property : System.getProperties().stringPropertyNames()) {
            if (property.startsWith(PREFIX) && !DEFAULTS.containsKey(property.substring(PREFIX.length()))) {
                throw new IllegalArgumentException("unknown setting " + property + "; known: " + DEFAULTS.keySet());
            }
        }
    }
}
