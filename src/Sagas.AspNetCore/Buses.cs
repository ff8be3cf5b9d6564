using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Sagas.Runtime;

namespace Sagas.AspNetCore;

/// <summary>The bus: what waits where, and the messages that nobody could read.</summary>
internal static partial class Buses
{
    private const int MostBody = 4096;

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

    public static async Task DeadLetters(HttpContext http)
    {
        var limit = Query.Limit(http.Request);
        var page = http.RequestServices.GetService<IDeadLetters>() is { } letters ? await letters.ListAsync(limit, http.RequestAborted) : new DeadLetterPage(0, []);
        await Answer.JsonAsync(http, 200, json =>
        {
            json.WriteStartObject();
            json.WriteNumber("count"u8, page.Count);
            json.WriteStartArray("items"u8);
            foreach (var letter in page.Items) Write(json, letter);
            json.WriteEndArray();
            json.WriteEndObject();
        });
    }

    public static Task Replay(HttpContext http) => TakeAsync(http, "replay", "replayed", static (letters, id, cancel) => letters.ReplayAsync(id, cancel));

    public static Task Discard(HttpContext http) => TakeAsync(http, "discard", "discarded", static (letters, id, cancel) => letters.DiscardAsync(id, cancel));

    private static async Task TakeAsync(HttpContext http, string word, string done, Func<IDeadLetters, string, CancellationToken, Task<bool>> take)
    {
        var id = Query.Route(http, "id");
        var by = Query.Operator(http.Request);
        using var body = await Body.ObjectAsync(http, "{\"reason\":\"…\"}");
        var reason = Operators.ReasonOf(body.RootElement);
        // Not with the request's own token: half of it would be worse than the whole.
        if (http.RequestServices.GetService<IDeadLetters>() is not { } letters || !await take(letters, id, CancellationToken.None)) throw Problem.UnknownDeadLetter(id).Thrown();
        LogTaken(http.RequestServices.GetRequiredService<ILoggerFactory>().CreateLogger("Sagas.Api"), by, word, id, reason);
        await Answer.JsonAsync(http, 200, json =>
        {
            json.WriteStartObject();
            json.WriteString("id"u8, id);
            json.WriteString("status"u8, done);
            json.WriteEndObject();
        });
    }

    private static void Write(Utf8JsonWriter json, DeadLetter letter)
    {
        json.WriteStartObject();
        json.WriteString("id"u8, letter.Id);
        json.WriteString("queue"u8, letter.Queue);
        SagaWriter.Time(json, "at"u8, letter.At);
        json.WriteString("reason"u8, letter.Reason);
        json.WriteNumber("bytes"u8, letter.Body.Length);
        // The beginning, as text: what is no UTF-8 shows as �.
        json.WriteString("body"u8, Encoding.UTF8.GetString(letter.Body.Span[..Math.Min(letter.Body.Length, MostBody)]));
        json.WriteEndObject();
    }

    private static IEnumerable<string> ParticipantsOf(SagaEngine engine) => engine.Definitions
        .SelectMany(definition => definition.Steps).SelectMany(step => Enum.GetValues<Phase>().Select(step.EndpointOf)).OfType<BusEndpoint>()
        .Select(endpoint => endpoint.Participant).Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal);

    [LoggerMessage(3, LogLevel.Information, "Operator {By}: {Word} dead letter {Id}: {Reason}")]
    private static partial void LogTaken(ILogger log, string by, string word, string id, string reason);
}
