using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Sagas.Runtime;

namespace Sagas.AspNetCore;

/// <summary>The bus: what waits where.</summary>
internal static class Buses
{
    public static async Task Find(HttpContext http)
    {
        var engine = http.Engine();
        var monitor = http.RequestServices.GetService<IBusMonitor>();
        IReadOnlyList<BusQueue> queues = [];
        var fault = monitor?.Fault;
        if (monitor is not null && fault is null)
        {
            try
            {
                queues = await monitor.QueuesAsync(ParticipantsOf(engine), http.RequestAborted);
            }
            catch (BusUnavailableException e)
            {
                fault = e.Message;
            }
        }
        await Answer.JsonAsync(http, 200, json =>
        {
            json.WriteStartObject();
            json.WriteString("bus"u8, monitor?.Name ?? "in-process");
            json.WriteString("status"u8, fault is null ? "good"u8 : "held"u8);
            json.WriteString("detail"u8, fault);
            json.WriteStartArray("outgoing"u8);
            foreach (var (destination, waiting) in engine.Outgoing.OrderBy(lane => lane.Destination, StringComparer.Ordinal))
            {
                json.WriteStartObject();
                json.WriteString("destination"u8, destination);
                json.WriteNumber("waiting"u8, waiting);
                json.WriteEndObject();
            }
            json.WriteEndArray();
            json.WriteStartArray("queues"u8);
            foreach (var queue in queues)
            {
                json.WriteStartObject();
                json.WriteString("name"u8, queue.Name);
                json.WriteNumber("messages"u8, queue.Messages);
                json.WriteNumber("consumers"u8, queue.Consumers);
                json.WriteEndObject();
            }
            json.WriteEndArray();
            json.WriteEndObject();
        });
    }

    private static IEnumerable<string> ParticipantsOf(SagaEngine engine) => engine.Definitions
        .SelectMany(definition => definition.Steps).SelectMany(step => Enum.GetValues<Phase>().Select(step.EndpointOf)).OfType<BusEndpoint>()
        .Select(endpoint => endpoint.Participant).Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal);
}
