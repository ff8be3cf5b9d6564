using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Sagas.Runtime;

namespace Sagas.AspNetCore;

/// <summary>Whether the process is up, and whether it can take sagas.</summary>
internal static class Health
{
    public static Task Live(HttpContext http) => Answer.JsonAsync(http, 200, json =>
    {
        json.WriteStartObject();
        json.WriteString("status"u8, "live"u8);
        json.WriteEndObject();
    });

    public static async Task Ready(HttpContext http)
    {
        var store = http.Engine().StoreHealth;
        if (store.Level == StoreLevel.Down)
            throw Problem.NotReady(store.Detail ?? "Nothing can be committed to the store. See the log of this node.").Thrown();
        if (!http.Engine().IsReady) throw Problem.NotReady("The engine is not running: it starts, stops, or a worker broke. See the log of this node.").Thrown();
        // A bus that is away holds up sending, not starting.
        var told = await http.RequestServices.GetRequiredService<HealthCheckService>().CheckHealthAsync(static check => check.Name.StartsWith("sagas-", StringComparison.Ordinal), http.RequestAborted);
        var faults = string.Join(' ', new[] { store.Detail }.Concat(told.Entries.Values.Where(static check => check.Status != HealthStatus.Healthy).Select(static check => check.Description)).OfType<string>());
        await Answer.JsonAsync(http, 200, json =>
        {
            json.WriteStartObject();
            json.WriteString("status"u8, "ready"u8);
            json.WriteString("store"u8, store.Level.ToString().ToLowerInvariant());
            json.WriteString("detail"u8, faults.Length > 0 ? faults : null);
            json.WriteEndObject();
        });
    }
}
