using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Sagas.AspNetCore;

/// <summary>Who did what, and why: every request of an operator that was carried out.</summary>
internal static partial class Audit
{
    public static async Task List(HttpContext http)
    {
        var limit = Query.Limit(http.Request);
        var cursor = Query.One(http.Request, "cursor");
        if (cursor is not null && !Guid.TryParseExact(cursor, "N", out _)) throw Problem.BadParameter("cursor", cursor, "the 'next' of the page before, unchanged").Thrown();
        var page = await http.Engine().AuditAsync(limit + 1, cursor, http.RequestAborted);
        await Answer.JsonAsync(http, 200, json =>
        {
            json.WriteStartObject();
            json.WriteStartArray("items"u8);
            foreach (var entry in page.Take(limit))
            {
                json.WriteStartObject();
                json.WriteString("id"u8, entry.Id);
                SagaWriter.Time(json, "at"u8, entry.At);
                json.WriteString("by"u8, entry.By);
                json.WriteString("action"u8, entry.Action);
                json.WriteString("kind"u8, entry.Kind);
                json.WriteString("target"u8, entry.Target);
                json.WriteString("detail"u8, entry.Detail);
                json.WriteString("reason"u8, entry.Reason);
                json.WriteEndObject();
            }
            json.WriteEndArray();
            json.WriteString("next"u8, page.Count > limit ? page[limit - 1].Id : null);
            json.WriteEndObject();
        });
    }

    /// <summary>Keeps what was done. A store that cannot keep it now does not undo it: then it stands in the log.</summary>
    public static async Task KeepAsync(HttpContext http, string action, string kind, string target, string? detail, string reason, string by)
    {
        if (!await http.Engine().AuditAsync(action, kind, target, detail, reason, by))
            LogLost(http.RequestServices.GetRequiredService<ILoggerFactory>().CreateLogger("Sagas.Api"), action, kind, target, detail, by, reason);
    }

    [LoggerMessage(4, LogLevel.Warning, "The store could not keep what was done: {Action} of {Kind} {Target} ({Detail}) by {By}: {Reason}")]
    private static partial void LogLost(ILogger log, string action, string kind, string target, string? detail, string by, string reason);
}
