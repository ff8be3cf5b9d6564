using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace Sagas.Runtime;

/// <summary>Configures the engine: <c>services.AddSagas(s => s.AddSaga&lt;BookTrip&gt;().UseJournal(path).UseInMemoryBus())</c>.</summary>
public sealed class SagasBuilder
{
    internal SagasBuilder(IServiceCollection services) => Services = services;

    /// <summary>The host's services, for extensions.</summary>
    public IServiceCollection Services { get; }

    /// <summary>Adds a definition in C#. Built, and all faults reported, when the host starts.</summary>
    public SagasBuilder AddSaga<TSaga>() where TSaga : Saga, new() => AddSaga(new TSaga());

    /// <summary>Adds a definition in C#. Built, and all faults reported, when the host starts.</summary>
    public SagasBuilder AddSaga(Saga saga)
    {
        ArgumentNullException.ThrowIfNull(saga);
        Services.AddSingleton(saga);
        return this;
    }

    /// <summary>Adds a definition that is made already, such as one in JSON: <c>AddSaga(DefinitionJson.Parse(File.ReadAllBytes("transfer.json")))</c>.</summary>
    public SagasBuilder AddSaga(SagaDefinition definition)
    {
        ArgumentNullException.ThrowIfNull(definition);
        Services.AddSingleton(definition);
        return this;
    }

    /// <summary>Says that another process's participant carries out a command.</summary>
    public SagasBuilder Route<TCommand>(string participant)
    {
        Services.AddSingleton(new CommandRoute(CommandName.Of(typeof(TCommand)), participant));
        return this;
    }

    /// <summary>Sets the engine's options in code, over what the configuration section <c>Sagas</c> says.</summary>
    public SagasBuilder Configure(Action<SagasOptions> configure)
    {
        Services.Configure(configure);
        return this;
    }
}

/// <summary>Adds the engine to a host.</summary>
public static class SagasServices
{
    /// <summary>Adds the engine with its definitions, store and bus. Options come from the configuration section <c>Sagas</c> and are validated when the host starts.</summary>
    public static IServiceCollection AddSagas(this IServiceCollection services, Action<SagasBuilder> configure)
    {
        ArgumentNullException.ThrowIfNull(configure);
        services.AddOptions<SagasOptions>().BindConfiguration("Sagas").Configure<IConfiguration>(static (options, configuration) =>
        {
            // One text, or several in one value; the binder itself takes only a list.
            Split("Definitions", options.Definitions);
            Split("Http:AllowedHosts", options.Http.AllowedHosts);
            Split("Http:RestHosts", options.Http.RestHosts);

            void Split(string key, IList<string> list)
            {
                foreach (var one in configuration["Sagas:" + key]?.Split(';', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries) ?? []) list.Add(one);
            }
        }).ValidateDataAnnotations()
            .Validate(static options => options.Http.PerHost is >= 1 and <= 65536, "Sagas:Http:PerHost must lie between 1 and 65536.")     // annotations do not reach that deep
            .ValidateOnStart();
        services.TryAddSingleton(TimeProvider.System);
        services.TryAddSingleton<HostDisposables>();
        services.TryAddSingleton(static s =>
        {
            var options = s.GetRequiredService<IOptions<SagasOptions>>().Value;
            return new DefinitionCatalog(s.GetServices<Saga>(), s.GetServices<CommandRoute>(), options.StuckAfter, options.Definitions,
                hasBus: s.GetRequiredService<IServiceProviderIsService>().IsService(typeof(ITransport)), made: s.GetServices<SagaDefinition>());
        });
        services.TryAddSingleton(s => new SagaEngine(s.GetRequiredService<DefinitionCatalog>(),
            s.GetService<ISagaStore>() ?? throw new InvalidOperationException("The engine has no store. Say where sagas are kept: AddSagas(s => s.UseJournal(\"data\"))."),
            s.GetService<ITransport>() ?? new NoBus(),
            s.GetRequiredService<IOptions<SagasOptions>>(), s.GetRequiredService<TimeProvider>(), s.GetRequiredService<ILogger<SagaEngine>>()));
        services.AddHealthChecks().AddCheck<EngineHealth>("sagas", tags: ["ready"]);
        configure(new SagasBuilder(services));
        services.AddSingleton<IHostedService>(s => s.GetRequiredService<SagaEngine>());
        return services;
    }
}
