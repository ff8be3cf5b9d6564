using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Primitives;
using Sagas.Runtime;

namespace Sagas.AspNetCore;

/// <summary>The same request to all sagas that match a filter.</summary>
internal static class Operations
{
    private const string Example = "{\"action\":\"retry\",\"filter\":{\"status\":\"Stuck\"},\"reason\":\"…\",\"dryRun\":false}";
    private static readonly string[] Actions = [.. Enum.GetNames<OperationAction>().Select(name => name.ToLowerInvariant())];

    public static async Task Start(HttpContext http)
    {
        var by = Query.Operator(http.Request);
        using var body = await Body.ObjectAsync(http, Example);
        var root = body.RootElement;
        foreach (var field in root.EnumerateObject())
            if (field.Name is not ("action" or "filter" or "reason" or "dryRun"))
                throw Problem.BadBody($"$.{field.Name}", $"The body has a field '{Problem.Short(field.Name)}'. It has only action, filter, reason and dryRun.").Thrown();
        var action = ActionOf(root);
        var filter = FilterOf(root);
        var reason = Operators.ReasonOf(root);
        if (IsDryRun(root))
        {
            var matched = (await http.Engine().CountAsync(filter, http.RequestAborted)).Values.Sum();
            await Answer.JsonAsync(http, 200, json =>
            {
                json.WriteStartObject();
                json.WriteNumber("matched"u8, matched);
                json.WriteEndObject();
            });
            return;
        }
        var operation = await http.Engine().OperateAsync(action, filter, reason, by, http.RequestAborted)
            ?? throw Problem.Busy("As many operations run as may. Wait until one has ended, or cancel one; GET /api/v1/operations lists them.").Thrown();
        await Audit.KeepAsync(http, Actions[(int)action], "operation", operation.Id, $"{operation.Matched} sagas", reason, by);
        http.Response.Headers.Location = $"{http.Request.PathBase.Add(http.Request.Path).ToUriComponent().TrimEnd('/')}/{operation.Id}";
        await Answer.JsonAsync(http, 202, json => Write(json, operation));
    }

    public static async Task Find(HttpContext http)
    {
        var id = Query.Route(http, "id");
        var operation = await http.Engine().FindOperationAsync(id, http.RequestAborted) ?? throw Problem.UnknownOperation(id).Thrown();
        await Answer.JsonAsync(http, 200, json => Write(json, operation));
    }

    public static async Task List(HttpContext http)
    {
        var limit = Query.Limit(http.Request);
        var cursor = Query.One(http.Request, "cursor");
        if (cursor is not null && !Guid.TryParseExact(cursor, "N", out _)) throw Problem.BadParameter("cursor", cursor, "the 'next' of the page before, unchanged").Thrown();
        var all = await http.Engine().ListOperationsAsync(http.RequestAborted);
        var page = all.Where(operation => cursor is null || string.CompareOrdinal(operation.Id, cursor) < 0).Take(limit + 1).ToArray();
        await Answer.JsonAsync(http, 200, json =>
        {
            json.WriteStartObject();
            json.WriteStartArray("items"u8);
            foreach (var operation in page.Take(limit)) Write(json, operation);
            json.WriteEndArray();
            json.WriteString("next"u8, page.Length > limit ? page[limit - 1].Id : null);
            json.WriteEndObject();
        });
    }

    public static async Task Cancel(HttpContext http)
    {
        var id = Query.Route(http, "id");
        var by = Query.Operator(http.Request);
        using var body = await Body.ObjectAsync(http, "{\"reason\":\"…\"}");
        var reason = Operators.ReasonOf(body.RootElement);
        var (operation, stopped) = await http.Engine().CancelOperationAsync(id, reason, by, http.RequestAborted);
        if (operation is null) throw Problem.UnknownOperation(id).Thrown();
        if (!stopped) throw Problem.OperationEnded(operation).Thrown();
        await Audit.KeepAsync(http, "stop", "operation", id, null, reason, by);
        await Answer.JsonAsync(http, 202, json => Write(json, operation));
    }

    private static OperationAction ActionOf(JsonElement root)
    {
        var word = root.TryGetProperty("action", out var given) && given.ValueKind == JsonValueKind.String ? given.GetString() : null;
        var index = Array.IndexOf(Actions, word);
        return index >= 0 ? (OperationAction)index : throw Problem.BadBody("$.action", $"The body has no action, or not one of {string.Join(", ", Actions)}. Send {Example}.").Thrown();
    }

    private static bool IsDryRun(JsonElement root)
    {
        if (!root.TryGetProperty("dryRun", out var given) || given.ValueKind == JsonValueKind.Null) return false;
        return given.ValueKind is JsonValueKind.True or JsonValueKind.False ? given.GetBoolean() : throw Problem.BadBody("$.dryRun", "'dryRun' is neither true nor false. Say one of them, or leave it out.").Thrown();
    }

    /// <summary>The listing's parameters as a JSON object: each a text, or an array of texts where it may be given more than once.</summary>
    private static SagaFilter FilterOf(JsonElement root)
    {
        if (!root.TryGetProperty("filter", out var filter) || filter.ValueKind != JsonValueKind.Object)
            throw Problem.BadBody("$.filter", $"The body has no filter. Send {Example}; the filter {{}} means every saga.").Thrown();
        var query = new Dictionary<string, StringValues>(StringComparer.Ordinal);
        foreach (var field in filter.EnumerateObject())
        {
            if (!Calls.Filter.Contains(field.Name))
                throw Problem.BadBody($"$.filter.{field.Name}", $"A filter has no '{Problem.Short(field.Name)}'. It has {string.Join(", ", Calls.Filter)}, as GET /api/v1/sagas does.").Thrown();
            if (field.Value.ValueKind == JsonValueKind.Null) continue;
            string[]? texts = field.Value.ValueKind switch
            {
                JsonValueKind.String => [field.Value.GetString()!],
                JsonValueKind.Array when field.Value.EnumerateArray().All(text => text.ValueKind == JsonValueKind.String) => [.. field.Value.EnumerateArray().Select(text => text.GetString()!)],
                _ => null,
            };
            if (texts is null) throw Problem.BadBody($"$.filter.{field.Name}", $"'{field.Name}' is neither a text nor an array of texts. Write it as the listing's parameter.").Thrown();
            query[field.Name] = texts;
        }
        try
        {
            return Query.Filter(new QueryCollection(query));
        }
        catch (ProblemException e) when (e.Problem.Parameter is { } name)
        {
            throw (e.Problem with { Path = $"$.filter.{name}" }).Thrown();
        }
    }

    private static void Write(Utf8JsonWriter json, Operation operation)
    {
        json.WriteStartObject();
        json.WriteString("id"u8, operation.Id);
        json.WriteString("action"u8, Actions[(int)operation.Action]);
        json.WritePropertyName("filter"u8);
        Operation.WriteFilter(json, operation.Filter);
        json.WriteString("reason"u8, operation.Reason);
        json.WriteString("by"u8, operation.By);
        json.WriteString("status"u8, operation.Status switch { OperationStatus.Running => "running"u8, OperationStatus.Done => "done"u8, _ => "cancelled"u8 });
        json.WriteNumber("matched"u8, operation.Matched);
        json.WriteNumber("done"u8, operation.Done);
        json.WriteNumber("failed"u8, operation.Failed);
        json.WriteStartArray("errors"u8);
        foreach (var (saga, message) in operation.Errors)
        {
            json.WriteStartObject();
            json.WriteString("id"u8, saga);
            json.WriteString("message"u8, message);
            json.WriteEndObject();
        }
        json.WriteEndArray();
        SagaWriter.Time(json, "startedAt"u8, operation.StartedAt);
        SagaWriter.Time(json, "updatedAt"u8, operation.UpdatedAt);
        SagaWriter.Time(json, "finishedAt"u8, operation.FinishedAt);
        json.WriteString("cancelledBy"u8, operation.CancelledBy);
        json.WriteString("cancelReason"u8, operation.CancelReason);
        json.WriteEndObject();
    }
}
