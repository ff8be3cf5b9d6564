using Microsoft.Extensions.DependencyInjection;

namespace Sagas.Runtime;

/// <summary>Configures the engine: <c>services.AddSagas(s => s.AddSaga&lt;BookTrip&gt;().UseJournal(path).UseInMemoryBus())</c>.</summary>
public sealed class SagasBuilder
{
    internal SagasBuilder(IServiceCollection services) => Services = services;

    /// <summary>The host's services, for extensions.</summary>
    public IServiceCollection Services { get; }
}
