using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Sagas.Runtime;

/// <summary>Ready: the store takes commits and the workers run.</summary>
internal sealed class EngineHealth(SagaEngine engine) : IHealthCheck
{
    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default) =>
        Task.FromResult(engine.StoreHealth switch
        {
            { Level: StoreLevel.Down, Detail: var why } => HealthCheckResult.Unhealthy(why),
            _ when !engine.IsReady => HealthCheckResult.Unhealthy("The engine is not running."),
            { Level: StoreLevel.Low, Detail: var why } => HealthCheckResult.Degraded(why),
            { Detail: { } what } => HealthCheckResult.Degraded(what),
            _ => HealthCheckResult.Healthy(),
        });
}
