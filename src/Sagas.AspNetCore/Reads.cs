using System.Collections.Immutable;
using System.Globalization;
using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Sagas.Runtime;

namespace Sagas.AspNetCore;

/// <summary>Reading sagas: one, many, and their history.</summary>
internal static class Reads
{
    public static async Task Find(HttpContext http)
    {
        var id = Query.IdOf(http);
        var saga = Query.Wait(http.Request) is { } patience
            ? await Starts.WaitAsync(http, id, patience)
            : await http.Engine().FindAsync(id, http.RequestAborted);
        if (saga is null) throw Problem.UnknownSaga(id).Thrown();
        await Answer.JsonAsync(http, 200, json => SagaWriter.Write(json, saga, DefinitionOf(http, saga)));
    }

    /// <summary>The definition that a saga runs, also one of its own.</summary>
    public static async Task Definition(HttpContext http)
    {
        var id = Query.IdOf(http);
        var saga = await http.Engine().FindAsync(id, http.RequestAborted) ?? throw Problem.UnknownSaga(id).Thrown();
        var definition = http.Engine().DefinitionOf(saga) ?? throw Problem.UnknownDefinition(saga.Definition, saga.DefinitionVersion).Thrown();
        await Definitions.WriteAsync(http, definition, saga.Inline is not null);
    }

    public static async Task List(HttpContext http)
    {
        var filter = Query.Filter(http.Request);
        var limit = Query.Limit(http.Request);
        var cursor = Query.One(http.Request, "cursor");
        SagaPage page;
        try
        {
            page = await http.Engine().ListAsync(filter, limit, cursor, http.RequestAborted);
        }
        catch (FormatException) when (cursor is not null)
        {
            throw Problem.BadParameter("cursor", cursor, "the 'next' of the page before, unchanged").Thrown();
        }
        await Answer.JsonAsync(http, 200, json =>
        {
            json.WriteStartObject();
            json.WriteStartArray("items"u8);
            foreach (var saga in page.Items) SagaWriter.WriteSummary(json, saga, DefinitionOf(http, saga));
            json.WriteEndArray();
            json.WriteString("next"u8, page.Next);
            json.WriteEndObject();
        });
    }

    public static async Task Counts(HttpContext http)
    {
        var counts = await http.Engine().CountAsync(Query.Filter(http.Request), http.RequestAborted);
        await Answer.JsonAsync(http, 200, json =>
        {
            json.WriteStartObject();
            ByStatus(json, counts);
            json.WriteEndObject();
        });
    }

    public static async Task History(HttpContext http)
    {
        var id = Query.IdOf(http);
        var limit = Query.Limit(http.Request);
        // One more than asked for shows whether there is a next page.
        var entries = await http.Engine().HistoryAsync(id, Query.After(http.Request), limit + 1, http.RequestAborted)
            ?? throw Problem.UnknownSaga(id).Thrown();
        await Answer.JsonAsync(http, 200, json =>
        {
            json.WriteStartObject();
            json.WriteStartArray("items"u8);
            foreach (var entry in entries.Take(limit)) SagaWriter.WriteHistory(json, entry);
            json.WriteEndArray();
            json.WriteString("next"u8, entries.Count > limit ? entries[limit - 1].Seq.ToString(CultureInfo.InvariantCulture) : null);
            json.WriteEndObject();
        });
    }

    /// <summary>Every status, also those that no saga is in: a client adds up without asking which are there.</summary>
    public static void ByStatus(Utf8JsonWriter json, ImmutableDictionary<SagaStatus, long> counts)
    {
        json.WriteStartObject("byStatus"u8);
        foreach (var status in Enum.GetValues<SagaStatus>()) json.WriteNumber(status.Word(), counts.GetValueOrDefault(status));
        json.WriteEndObject();
    }

    private static SagaDefinition? DefinitionOf(HttpContext http, SagaState saga) => http.Engine().DefinitionOf(saga);
}
