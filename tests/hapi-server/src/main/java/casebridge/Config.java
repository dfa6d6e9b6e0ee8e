package casebridge;

import ca.uhn.fhir.batch2.jobs.config.Batch2JobsConfig;
import ca.uhn.fhir.batch2.jobs.export.BulkDataExportProvider;
import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.IValidationSupport;
import ca.uhn.fhir.interceptor.api.IInterceptorService;
import ca.uhn.fhir.jpa.api.config.JpaStorageSettings;
import ca.uhn.fhir.jpa.api.config.JpaStorageSettings.ClientIdStrategyEnum;
import ca.uhn.fhir.jpa.api.config.ThreadPoolFactoryConfig;
import ca.uhn.fhir.jpa.api.dao.IFhirSystemDao;
import ca.uhn.fhir.jpa.batch2.JpaBatch2Config;
import ca.uhn.fhir.jpa.binary.api.IBinaryStorageSvc;
import ca.uhn.fhir.jpa.binstore.DatabaseBinaryContentStorageSvcImpl;
import ca.uhn.fhir.jpa.config.HapiJpaConfig;
import ca.uhn.fhir.jpa.config.r4.JpaR4Config;
import ca.uhn.fhir.jpa.config.util.HapiEntityManagerFactoryUtil;
import ca.uhn.fhir.jpa.interceptor.CascadingDeleteInterceptor;
import ca.uhn.fhir.jpa.model.config.PartitionSettings;
import ca.uhn.fhir.jpa.model.config.SubscriptionSettings;
import ca.uhn.fhir.jpa.provider.JpaCapabilityStatementProvider;
import ca.uhn.fhir.jpa.provider.JpaSystemProvider;
import ca.uhn.fhir.jpa.provider.ValueSetOperationProvider;
import ca.uhn.fhir.jpa.search.DatabaseBackedPagingProvider;
import ca.uhn.fhir.jpa.subscription.channel.config.SubscriptionChannelConfig;
import ca.uhn.fhir.jpa.subscription.submit.config.SubscriptionSubmitterConfig;
import ca.uhn.fhir.rest.api.EncodingEnum;
import ca.uhn.fhir.rest.server.RestfulServer;
import ca.uhn.fhir.rest.server.interceptor.RequestValidatingInterceptor;
import ca.uhn.fhir.rest.server.provider.ResourceProviderFactory;
import ca.uhn.fhir.rest.server.util.ISearchParamRegistry;
import ca.uhn.fhir.validation.IInstanceValidatorModule;
import ca.uhn.fhir.validation.ResultSeverityEnum;
import jakarta.persistence.EntityManagerFactory;
import java.util.Properties;
import javax.sql.DataSource;
import org.apache.commons.dbcp2.BasicDataSource;
import org.springframework.beans.factory.config.ConfigurableListableBeanFactory;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.context.annotation.Import;
import org.springframework.context.annotation.Primary;
import org.springframework.orm.jpa.JpaTransactionManager;
import org.springframework.orm.jpa.LocalContainerEntityManagerFactoryBean;

/** HAPI's R4 server put together: how it stores, where, and which operations it offers. */
@Configuration
@Import({
    JpaR4Config.class,
    HapiJpaConfig.class,
    ThreadPoolFactoryConfig.class,
    JpaBatch2Config.class,
    Batch2JobsConfig.class,
    SubscriptionChannelConfig.class,
    SubscriptionSubmitterConfig.class
})
public class Config {
    @Bean
    public JpaStorageSettings storageSettings() {
        JpaStorageSettings storage = new JpaStorageSettings();
        // As HAPI's public test server has it
        storage.setAllowExternalReferences(true);
        storage.setAllowMultipleDelete(true);
        storage.setAllowContainsSearches(true);
        // `reset` is an expunge of everything
        storage.setExpungeEnabled(true);
        storage.setDeleteExpungeEnabled(true);
        storage.setAutoCreatePlaceholderReferenceTargets(Setting.flag("placeholders"));
        storage.setEnforceReferentialIntegrityOnWrite(Setting.flag("integrityOnWrite"));
        storage.setEnforceReferentialIntegrityOnDelete(Setting.flag("integrityOnDelete"));
        storage.setResourceClientIdStrategy(ClientIdStrategyEnum.valueOf(Setting.text("clientIds")));
        int reuse = Setting.number("reuseSearchMs");
        storage.setReuseCachedSearchResultsForMillis(reuse > 0 ? Long.valueOf(reuse) : null);
        int most = Setting.number("maxBundle");
        storage.setMaximumTransactionBundleSize(most > 0 ? Integer.valueOf(most) : null);
        // What no test asks for costs time at the start: full text, value sets expanded beforehand
        storage.setHibernateSearchIndexSearchParams(false);
        storage.setHibernateSearchIndexFullText(false);
        storage.setEnableTaskPreExpandValueSets(false);
        storage.setPreExpandValueSets(false);
        // $export in seconds instead of minutes, with HapiServer.runJobs
        storage.setJobFastTrackingEnabled(true);
        return storage;
    }

    @Bean
    public PartitionSettings partitionSettings() {
        return new PartitionSettings();
    }

    @Bean
    public SubscriptionSettings subscriptionSettings() {
        return new SubscriptionSettings();
    }

    @Bean
    public IBinaryStorageSvc binaryStorage() {
        return new DatabaseBinaryContentStorageSvcImpl();
    }

    @Bean(destroyMethod = "close")
    public DataSource dataSource() {
        BasicDataSource source = new BasicDataSource();
        source.setUrl(Setting.text("db"));
        source.setMaxTotal(20);
        return source;
    }

    @Bean
    @Primary
    public LocalContainerEntityManagerFactoryBean entityManagerFactory(
            ConfigurableListableBeanFactory beans, FhirContext context, JpaStorageSettings storage, DataSource source) {
        boolean postgres = Setting.text("db").startsWith("jdbc:postgresql:");
        Properties hibernate = new Properties();
        hibernate.put("hibernate.dialect",
                "ca.uhn.fhir.jpa.model.dialect." + (postgres ? "HapiFhirPostgresDialect" : "HapiFhirH2Dialect"));
        hibernate.put("hibernate.hbm2ddl.auto", "update");
        hibernate.put("hibernate.jdbc.batch_size", "20");
        hibernate.put("hibernate.cache.use_query_cache", "false");
        hibernate.put("hibernate.cache.use_second_level_cache", "false");
        hibernate.put("hibernate.search.enabled", "false");
        LocalContainerEntityManagerFactoryBean factory =
                HapiEntityManagerFactoryUtil.newEntityManagerFactory(beans, context, storage);
        factory.setPersistenceUnitName("HAPI_PU");
        factory.setDataSource(source);
        factory.setJpaProperties(hibernate);
        return factory;
    }

    @Bean
    @Primary
    public JpaTransactionManager transactionManager(EntityManagerFactory factory) {
        return new JpaTransactionManager(factory);
    }

    @Bean
    public RestfulServer restfulServer(
            IFhirSystemDao<?, ?> dao,
            JpaSystemProvider<?, ?> system,
            ResourceProviderFactory resources,
            JpaStorageSettings storage,
            ISearchParamRegistry searchParameters,
            IValidationSupport validation,
            DatabaseBackedPagingProvider paging,
            IInterceptorService interceptors,
            ValueSetOperationProvider valueSets,
            BulkDataExportProvider export,
            CascadingDeleteInterceptor cascade,
            IInstanceValidatorModule validator) {
        RestfulServer server = new RestfulServer(dao.getContext());
        server.setInterceptorService(interceptors);
        server.registerProviders(resources.createProviders());
        server.registerProviders(system, valueSets, export);
        JpaCapabilityStatementProvider capabilities =
                new JpaCapabilityStatementProvider(server, dao, storage, searchParameters, validation);
        capabilities.setImplementationDescription("HAPI FHIR R4, for tests");
        server.setServerConformanceProvider(capabilities);
        server.setDefaultResponseEncoding(EncodingEnum.JSON);
        paging.setDefaultPageSize(Setting.number("pageDefault"));
        paging.setMaximumPageSize(Setting.number("pageMax"));
        server.setPagingProvider(paging);
        // It acts only where a request asks for it
        server.registerInterceptor(cascade);
        if (Setting.flag("validate")) {
            server.registerInterceptor(refusing(validator));
        }
        return server;
    }

    private static RequestValidatingInterceptor refusing(IInstanceValidatorModule validator) {
        RequestValidatingInterceptor interceptor = new RequestValidatingInterceptor();
        interceptor.setFailOnSeverity(ResultSeverityEnum.ERROR);
        interceptor.addValidatorModule(validator);
        return interceptor;
    }
}
