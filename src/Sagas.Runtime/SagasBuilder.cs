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
            // One path, or several in one value; the binder itself takes only a list.
            foreach (var path in configuration["Sagas:Definitions"]?.Split(';', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries) ?? []) options.Definitions.Add(path);
        }).ValidateDataAnnotations().ValidateOnStart();
        services.TryAddSingleton(TimeProvider.System);
        services.TryAddSingleton(static s =>
        {
            var options = s.GetRequiredService<IOptions<SagasOptions>>().Value;
            return new DefinitionCatalog(s.GetServices<Saga>(), s.GetServices<CommandRoute>(), options.StuckAfter, options.Definitions);
        });
        services.TryAddSingleton(s => new SagaEngine(s.GetRequiredService<DefinitionCatalog>(),
            s.GetService<ISagaStore>() ?? throw new InvalidOperationException("The engine has no store. Say where sagas are kept: AddSagas(s => s.UseJournal(\"data\"))."),
            s.GetService<ITransport>() ?? throw new InvalidOperationException("The engine has no bus. Say how participants are reached: AddSagas(s => s.UseInMemoryBus())."),
            s.GetRequiredService<IOptions<SagasOptions>>(), s.GetRequiredService<TimeProvider>(), s.GetRequiredService<ILogger<SagaEngine>>()));
        services.AddHealthChecks().AddCheck<EngineHealth>("sagas", tags: ["ready"]);
        configure(new SagasBuilder(services));
        services.AddSingleton<IHostedService>(s => s.GetRequiredService<SagaEngine>());
        return services;
    }
}
