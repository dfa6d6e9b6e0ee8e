package casebridge;

import ca.uhn.fhir.batch2.api.IJobMaintenanceService;
import ca.uhn.fhir.rest.server.RestfulServer;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.util.thread.QueuedThreadPool;
import org.springframework.context.ApplicationContext;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;

/** HAPI FHIR's R4 JPA server in Jetty, on loopback. Once it answers it prints READY and its base URL, and nothing else ever. */
public final class HapiServer {
    private HapiServer() {}

    public static void main(String[] arguments) throws Exception {
        Setting.refuseUnknown();
        try {
            serve();
        } catch (Exception | Error error) {
            // Threads of HAPI's would keep a server alive that never answers
            error.printStackTrace();
            System.exit(1);
        }
    }

    private static void serve() throws Exception {
        ApplicationContext context = new AnnotationConfigApplicationContext(Config.class);
        Server server = new Server(new QueuedThreadPool(40));
        ServerConnector connector = new ServerConnector(server);
        connector.setHost("127.0.0.1");
        connector.setPort(Setting.number("port"));
        server.addConnector(connector);
        ServletContextHandler handler = new ServletContextHandler("/");
        handler.addServlet(new ServletHolder(context.getBean(RestfulServer.class)), "/fhir/*");
        server.setHandler(handler);
        server.start();
        runJobs(context.getBean(IJobMaintenanceService.class));
        System.out.println("READY http://127.0.0.1:" + connector.getLocalPort() + "/fhir");
        if (Setting.flag("leash")) {
            // Whoever holds the other end of this pipe has ended, in whatever way: SIGKILL included
            System.in.readAllBytes();
            System.exit(0);
        }
        server.join();
    }

    /** HAPI looks after its batch jobs once a minute: an $export would take minutes. */
    private static void runJobs(IJobMaintenanceService jobs) {
        Thread thread = new Thread(() -> {
            while (true) {
                try {
                    Thread.sleep(2000);
                    jobs.runMaintenancePass();
                } catch (InterruptedException stop) {
                    return;
                } catch (RuntimeException error) {
                    System.err.println("jobs: " + error);
                }
            }
        });
        thread.setDaemon(true);
        thread.start();
    }
}
