using System.Collections.Immutable;
using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Sagas.Runtime;

namespace Sagas.AspNetCore;

/// <summary>One item of a batch: what to start, or why it cannot be.</summary>
internal sealed record BatchItem(string? Id, StartRequest? Request, Problem? Problem);

/// <summary>Starting many sagas with one request. An item that is refused does not hold up the others.</summary>
internal static class Batches
{
    // So many starts go to the engine at a time: enough to share a commit, few enough to leave room in the mailboxes.
    private const int Abreast = 512;

    public static async Task Start(HttpContext http)
    {
        var defaults = await Starts.DefaultsAsync(http, Query.Route(http, "name"));
        var ndjson = Body.IsNdjson(http.Request);
        var items = Read(await Body.BytesAsync(http, Body.BatchLimit, "The batch"), ndjson, defaults);
        var engine = http.Engine();

        Utf8JsonWriter? json = null;
        foreach (var chunk in items.Chunk(Abreast))
        {
            var outcomes = await Task.WhenAll(chunk.Select(item => StartAsync(engine, item, http.RequestAborted)));
            if (json is null)
            {
                // Nothing at all was accepted because nothing can be now: say so with the status that clients wait on.
                if (outcomes.All(o => o.Problem?.Status is 429 or 503)) throw outcomes[0].Problem!.Thrown();
                json = Open(http);
            }
            foreach (var outcome in outcomes) Write(json, outcome.Id, outcome.Status, outcome.Problem);
            json.Flush();
            await http.Response.BodyWriter.FlushAsync(http.RequestAborted);
        }
        json ??= Open(http);
        json.WriteEndArray();
        json.WriteEndObject();
        await json.DisposeAsync();
        await http.Response.BodyWriter.FlushAsync(http.RequestAborted);
    }

    /// <summary>The items of a batch, in order. A faulty array is a problem as a whole; of NDJSON, only the faulty line.</summary>
    public static IEnumerable<BatchItem> Read(ReadOnlyMemory<byte> body, bool ndjson, StartRequest defaults) =>
        ndjson ? Lines(body).Select(line => ReadLine(line.Bytes, line.Number, defaults))
            : Elements(body).Select((element, i) => ReadItem(element, $"$[{i}]", defaults)).ToArray();

    private static async Task<(string? Id, string Status, Problem? Problem)> StartAsync(SagaEngine engine, BatchItem item, CancellationToken cancel)
    {
        if (item.Request is null) return (item.Id, "refused", item.Problem);
        try
        {
            var result = await engine.StartAsync(item.Request, cancel);
            if (Starts.ProblemOf(engine, item.Request, result) is { } problem) return (item.Id, "refused", problem);
            return (result.Saga!.Id.Value, result.Outcome == StartOutcome.Exists ? "exists" : "accepted", null);
        }
        catch (StoreUnavailableException)
        {
            return (item.Id, "refused", Problem.StoreDown());
        }
    }

    private static Utf8JsonWriter Open(HttpContext http)
    {
        http.Response.StatusCode = 202;
        http.Response.ContentType = "application/json";
        var json = new Utf8JsonWriter(http.Response.BodyWriter, Answer.Json);
        json.WriteStartObject();
        json.WriteStartArray("items"u8);
        return json;
    }

    private static void Write(Utf8JsonWriter json, string? id, string status, Problem? problem)
    {
        json.WriteStartObject();
        json.WriteString("id"u8, id);
        json.WriteString("status"u8, status);
        json.WritePropertyName("problem"u8);
        if (problem is null) json.WriteNullValue();
        else problem.Write(json);
        json.WriteEndObject();
    }

    private static List<ReadOnlyMemory<byte>> Elements(ReadOnlyMemory<byte> body)
    {
        // An input may be 64 deep; the array and the item stand around it.
        if (Body.FaultOf(body.Span, Body.MaxDepth + 2) is { } fault) throw fault.Thrown();
        var json = new Utf8JsonReader(body.Span, new JsonReaderOptions { MaxDepth = Body.MaxDepth + 2 });
        json.Read();
        if (json.TokenType != JsonTokenType.StartArray)
            throw Problem.BadBody("$", "The batch is no array. Send [{\"id\":…,\"input\":…,\"tags\":{…}}, …], or one such object a line as application/x-ndjson.").Thrown();
        var elements = new List<ReadOnlyMemory<byte>>();
        while (json.Read() && json.TokenType != JsonTokenType.EndArray)
        {
            var start = (int)json.TokenStartIndex;
            json.Skip();
            elements.Add(body[start..(int)json.BytesConsumed]);
        }
        return elements;
    }

    private static IEnumerable<(ReadOnlyMemory<byte> Bytes, int Number)> Lines(ReadOnlyMemory<byte> body)
    {
        for (var number = 1; !body.IsEmpty; number++)
        {
            var end = body.Span.IndexOf((byte)'\n');
            var line = end < 0 ? body : body[..end];
            body = end < 0 ? default : body[(end + 1)..];
            if (line.Span.ContainsAnyExcept(" \t\r"u8)) yield return (line, number);
        }
    }

    private static BatchItem ReadLine(ReadOnlyMemory<byte> line, int number, StartRequest defaults) =>
        Body.FaultOf(line.Span, Body.MaxDepth + 1, number) is { } fault ? new BatchItem(null, null, fault) : ReadItem(line, "$", defaults);

    private static BatchItem ReadItem(ReadOnlyMemory<byte> item, string path, StartRequest defaults)
    {
        var json = new Utf8JsonReader(item.Span, new JsonReaderOptions { MaxDepth = Body.MaxDepth + 1 });
        json.Read();
        if (json.TokenType != JsonTokenType.StartObject) return Refused(null, path, $"The item at {path} is no object. Send {{\"id\":…,\"input\":…,\"tags\":{{…}}}}.");
        string? id = null;
        ReadOnlyMemory<byte>? input = null;
        var tags = defaults.Tags;
        BatchItem? refused = null;
        while (json.Read() && json.TokenType == JsonTokenType.PropertyName)
        {
            if (json.ValueTextEquals("id"u8))
            {
                json.Read();
                if (json.TokenType == JsonTokenType.String && SagaId.TryParse(json.GetString(), out var parsed)) id = parsed.Value;
                else if (json.TokenType != JsonTokenType.Null)
                    refused = Refused(json.TokenType == JsonTokenType.String ? json.GetString() : null, path + ".id",
                        $"The id at {path}.id is not 1 to 128 of A-Z a-z 0-9 . _ : -, the first a letter or digit.");
                json.Skip();
            }
            else if (json.ValueTextEquals("input"u8))
            {
                json.Read();
                var start = (int)json.TokenStartIndex;
                json.Skip();
                input = item[start..(int)json.BytesConsumed];
            }
            else if (json.ValueTextEquals("tags"u8))
            {
                json.Read();
                if (TagsOf(ref json, defaults.Tags) is { } read) tags = read;
                else refused = Refused(null, path + ".tags", $"The tags at {path}.tags do not fit: send an object of at most {Query.MaxTags} texts, keys of 1 to 64 characters without colon, values of at most 256.");
            }
            else
            {
                var name = json.GetString()!;
                refused = Refused(null, path, $"The item at {path} has a field '{Problem.Short(name)}'. An item has only id, input and tags.");
                json.Read();
                json.Skip();
            }
        }
        if (refused is not null) return refused with { Id = refused.Id ?? id };
        if (input is not { } value) return Refused(id, path, $"The item at {path} has no input. Send null when the saga takes none.");
        if (value.Length > Body.Limit) return new BatchItem(id, null, Problem.TooLarge($"The input at {path}.input", Body.Limit));
        // A copy: an accepted input must not keep the whole batch in memory.
        var payload = new Payload(Body.OnOneLine(value).ToArray());
        return new BatchItem(id, defaults with { Id = id is null ? null : new SagaId(id), Input = payload, Tags = tags }, null);
    }

    private static BatchItem Refused(string? id, string path, string fault) => new(id, null, Problem.BadBody(path, fault));

    /// <summary>Reads the tags to their end; null: they do not fit.</summary>
    private static ImmutableSortedDictionary<string, string>? TagsOf(ref Utf8JsonReader json, ImmutableSortedDictionary<string, string> defaults)
    {
        if (json.TokenType == JsonTokenType.Null) return defaults;
        if (json.TokenType != JsonTokenType.StartObject)
        {
            json.Skip();
            return null;
        }
        var tags = defaults.ToBuilder();
        var fits = true;
        while (json.Read() && json.TokenType == JsonTokenType.PropertyName)
        {
            var key = json.GetString()!;
            json.Read();
            if (json.TokenType == JsonTokenType.String && Query.IsTag(key, json.GetString()!)) tags[key] = json.GetString()!;
            else fits = false;
            json.Skip();
        }
        return fits && tags.Count <= Query.MaxTags ? tags.ToImmutable() : null;
    }
}
