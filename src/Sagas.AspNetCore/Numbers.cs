using System.Collections.Immutable;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Xml;
using Microsoft.AspNetCore.Http;
using Sagas.Runtime;

namespace Sagas.AspNetCore;

/// <summary>Numbers about sagas, what fails, and what waits.</summary>
internal static class Numbers
{
    // A reply that takes longer than most is worth looking at; all others are just on their way.
    private static readonly TimeSpan ReplyPatience = TimeSpan.FromSeconds(5);

    public static async Task Stats(HttpContext http)
    {
        var stats = await http.Engine().StatsAsync([DefinitionOf(http)], http.RequestAborted);
        await Answer.JsonAsync(http, 200, json => WriteStats(json, stats[0]));
    }

    public static void WriteStats(Utf8JsonWriter json, EngineStats stats)
    {
        json.WriteStartObject();
        Reads.ByStatus(json, stats.ByStatus);
        json.WriteNumber("startedPerSecond"u8, stats.StartedPerSecond);
        json.WriteNumber("completedPerSecond"u8, stats.CompletedPerSecond);
        json.WriteNumber("compensatedPerSecond"u8, stats.CompensatedPerSecond);
        json.WriteNumber("terminatedPerSecond"u8, stats.TerminatedPerSecond);
        json.WriteNumber("failedPerSecond"u8, stats.FailedPerSecond);
        json.WriteStartObject("latencyMs"u8);
        json.WriteNumber("p50"u8, stats.P50);
        json.WriteNumber("p95"u8, stats.P95);
        json.WriteNumber("p99"u8, stats.P99);
        json.WriteEndObject();
        SagaWriter.Time(json, "oldestUnfinishedAt"u8, stats.OldestUnfinishedAt);
        json.WriteEndObject();
    }

    /// <summary>One item a definition, with the numbers of all its versions.</summary>
    public static async Task ByDefinition(HttpContext http)
    {
        var engine = http.Engine();
        var newest = engine.Definitions.GroupBy(definition => definition.Name).OrderBy(group => group.Key, StringComparer.Ordinal)
            .Select(versions => (Name: versions.Key, Version: versions.Max(definition => definition.Version))).ToArray();
        var stats = await engine.StatsAsync([.. newest.Select(definition => definition.Name)], http.RequestAborted);
        await Answer.JsonAsync(http, 200, json =>
        {
            json.WriteStartObject();
            json.WriteStartArray("items"u8);
            foreach (var (definition, numbers) in newest.Zip(stats))
            {
                json.WriteStartObject();
                json.WriteString("definition"u8, definition.Name);
                json.WriteNumber("version"u8, definition.Version);
                json.WritePropertyName("stats"u8);
                WriteStats(json, numbers);
                json.WriteEndObject();
            }
            json.WriteEndArray();
            json.WriteEndObject();
        });
    }

    public static async Task Series(HttpContext http)
    {
        var definition = DefinitionOf(http);
        var minutes = Query.Minutes(http.Request);
        var (span, points) = await http.Engine().StatsSeriesAsync(minutes, definition, http.RequestAborted);
        await Answer.JsonAsync(http, 200, json =>
        {
            json.WriteStartObject();
            json.WriteString("definition"u8, definition);
            json.WriteString("span"u8, XmlConvert.ToString(span));
            json.WriteStartArray("items"u8);
            foreach (var point in points)
            {
                json.WriteStartObject();
                SagaWriter.Time(json, "time"u8, point.At);
                json.WriteNumber("startedPerSecond"u8, Rate(point.Started));
                json.WriteNumber("completedPerSecond"u8, Rate(point.Completed));
                json.WriteNumber("compensatedPerSecond"u8, Rate(point.Compensated));
                json.WriteNumber("terminatedPerSecond"u8, Rate(point.Terminated));
                json.WriteNumber("failedPerSecond"u8, Rate(point.Failed));
                if (point.P50 is { } p50)
                {
                    json.WriteStartObject("latencyMs"u8);
                    json.WriteNumber("p50"u8, p50);
                    json.WriteNumber("p95"u8, point.P95!.Value);
                    json.WriteNumber("p99"u8, point.P99!.Value);
                    json.WriteEndObject();
                }
                else json.WriteNull("latencyMs"u8);
                json.WriteStartObject("inFlight"u8);
                foreach (var status in Enum.GetValues<SagaStatus>().Where(status => status < SagaStatus.Completed)) json.WriteNumber(status.Word(), point.InFlight.GetValueOrDefault(status));
                json.WriteEndObject();
                json.WriteEndObject();
            }
            json.WriteEndArray();
            json.WriteEndObject();
        });

        double Rate(long count) => Math.Round(count / span.TotalSeconds, 3);
    }

    public static async Task Failures(HttpContext http)
    {
        var definition = DefinitionOf(http);
        var (groups, omitted) = await http.Engine().FailuresAsync(http.RequestAborted);
        await Answer.JsonAsync(http, 200, json =>
        {
            json.WriteStartObject();
            json.WriteString("window"u8, "PT24H");
            json.WriteString("span"u8, "PT30M");
            json.WriteNumber("omitted"u8, omitted);
            json.WriteStartArray("items"u8);
            foreach (var group in groups.Where(group => definition is null || group.Definition == definition))
            {
                json.WriteStartObject();
                json.WriteString("definition"u8, group.Definition);
                json.WriteNumber("version"u8, group.Version);
                json.WriteString("step"u8, group.Step);
                json.WriteString("phase"u8, group.Phase?.Word());
                json.WriteString("code"u8, group.Code);
                json.WriteString("message"u8, group.Message);
                json.WriteBoolean("refused"u8, group.Refused);
                json.WriteNumber("count"u8, group.Count);
                Reads.ByStatus(json, group.ByStatus);
                json.WriteNumber("attempts"u8, group.Attempts);
                SagaWriter.Time(json, "firstAt"u8, group.FirstAt);
                SagaWriter.Time(json, "lastAt"u8, group.LastAt);
                json.WriteStartArray("series"u8);
                foreach (var count in group.Series) json.WriteNumberValue(count);
                json.WriteEndArray();
                json.WriteEndObject();
            }
            json.WriteEndArray();
            json.WriteEndObject();
        });
    }

    public static async Task Waiting(HttpContext http)
    {
        var engine = http.Engine();
        var filter = Query.Filter(http.Request);
        var (longest, counts) = await engine.WaitingAsync(filter, Query.WaitKind(http.Request), Query.Limit(http.Request), ReplyPatience, http.RequestAborted);
        await Answer.JsonAsync(http, 200, json =>
        {
            json.WriteStartObject();
            json.WriteStartObject("byKind"u8);
            foreach (var kind in Enum.GetValues<WaitKind>()) json.WriteNumber(kind.Word(), counts.GetValueOrDefault(kind));
            json.WriteEndObject();
            json.WriteStartArray("items"u8);
            foreach (var waiting in longest) SagaWriter.WriteWaiting(json, waiting, engine.DefinitionOf(waiting.Saga));
            json.WriteEndArray();
            json.WriteEndObject();
        });
    }

    /// <summary>How many unfinished sagas there are of a definition: of each version, and at each step of the one that is shown.</summary>
    public static JsonObject InFlight(InFlight counted, SagaDefinition definition)
    {
        var versions = counted.Definitions.Where(version => version.Definition == definition.Name).ToArray();
        var shown = versions.FirstOrDefault(version => version.Version == definition.Version);
        return new JsonObject
        {
            ["byVersion"] = new JsonArray([.. versions.Select(version => new JsonObject { ["version"] = version.Version, ["sagas"] = version.Sagas })]),
            ["byStatus"] = new JsonObject(Enum.GetValues<SagaStatus>().Where(status => status < SagaStatus.Completed)
                .Select(status => KeyValuePair.Create<string, JsonNode?>(status.Word(), versions.Sum(version => version.ByStatus.GetValueOrDefault(status))))),
            ["steps"] = new JsonArray([.. definition.Steps.Select((step, i) =>
            {
                var at = shown is not null && i < shown.Steps.Length ? shown.Steps[i] : default;
                return new JsonObject { ["name"] = step.Name, ["first"] = at.First, ["second"] = at.Second, ["held"] = at.Held, ["retrying"] = at.Retrying, ["stuck"] = at.Stuck };
            })]),
        };
    }

    /// <summary>The parameter <c>definition</c>: one that is loaded; null: all.</summary>
    private static string? DefinitionOf(HttpContext http)
    {
        if (Query.One(http.Request, "definition") is not { Length: > 0 } name) return null;
        if (http.Engine().FindDefinition(name) is null) throw Problem.UnknownDefinition(name, null).Thrown();
        return name;
    }
}
