using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Sagas.Runtime;

namespace Sagas.AspNetCore;

/// <summary>What the bus brought and nobody could read. Empty where the bus keeps none: in one process there is nobody to send any.</summary>
internal static partial class DeadLetters
{
    // Whoever needs all of a large one takes it off the queue: this is for looking.
    private const int MostShown = 16 * 1024;

    public static async Task List(HttpContext http)
    {
        var limit = Query.Limit(http.Request);
        var kept = http.RequestServices.GetService<IDeadLetters>();
        var page = kept is null ? new DeadLetterPage(0, []) : await kept.ListAsync(limit, http.RequestAborted);
        await Answer.JsonAsync(http, 200, json =>
        {
            json.WriteStartObject();
            json.WriteBoolean("kept"u8, kept is not null);
            json.WriteNumber("count"u8, page.Count);
            json.WriteStartArray("items"u8);
            foreach (var letter in page.Items) Write(json, letter);
            json.WriteEndArray();
            json.WriteEndObject();
        });
    }

    public static async Task Ask(HttpContext http, string word, string what, Func<IDeadLetters, string, CancellationToken, Task<bool>> ask)
    {
        var id = Query.Route(http, "id");
        var by = Query.Operator(http.Request);
        using var body = await Body.ObjectAsync(http, "{\"reason\":\"…\"}");
        var reason = Operators.ReasonOf(body.RootElement);
        // Whoever hangs up halfway must not leave it open whether it was done.
        if (http.RequestServices.GetService<IDeadLetters>() is not { } kept || !await ask(kept, id, CancellationToken.None)) throw Problem.UnknownDeadLetter(id).Thrown();
        await Audit.KeepAsync(http, word, "dead-letter", id, null, reason, by);
        LogAsked(http.RequestServices.GetRequiredService<ILoggerFactory>().CreateLogger("Sagas.Api"), id, what, by, reason);
        await Answer.JsonAsync(http, 202, json =>
        {
            json.WriteStartObject();
            json.WriteString("id"u8, id);
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
        json.WriteString("body"u8, Encoding.UTF8.GetString(letter.Body.Span[..Math.Min(letter.Body.Length, MostShown)]));
        json.WriteEndObject();
    }

    [LoggerMessage(3, LogLevel.Information, "Dead letter {Id} was {What} by {By}: {Reason}")]
    private static partial void LogAsked(ILogger log, string id, string what, string by, string reason);
}
