using System.Text.Json;
using Shouldly;
using Xunit;

namespace Sagas.Tests.AspNetCore;

/// <summary>Failures, what waits, and numbers over time.</summary>
public sealed class NumbersTests
{
    [Fact]
    public async Task Failures_are_grouped_and_say_where_their_sagas_are()
    {
        await using var api = await ApiHost.StartAsync(command => command.Step switch
        {
            "room" => ScriptedTransport.Reply(command, Outcome.Refused, "full", "No rooms left."),
            "seat" when command.Phase == Phase.Cancel => ScriptedTransport.Reply(command, Outcome.Error, "down", "No database."),
            _ => ScriptedTransport.Ok(command),
        });
        foreach (var id in new[] { "a", "b" }) await api.Post($"/api/v1/definitions/book-trip/sagas?id={id}");
        JsonElement[] groups = [];
        while (groups.Length < 2 || groups.Any(group => group.GetProperty("count").GetInt32() < 2)) groups = [.. (await api.Get("/api/v1/failures")).Json.GetProperty("items").EnumerateArray()];
        var refused = groups.Single(group => group.GetProperty("code").GetString() == "full");
        refused.GetProperty("step").GetString().ShouldBe("room");
        refused.GetProperty("phase").GetString().ShouldBe("try");
        refused.GetProperty("message").GetString().ShouldBe("No rooms left.");
        refused.GetProperty("refused").GetBoolean().ShouldBeTrue();
        refused.GetProperty("byStatus").GetProperty("Compensating").GetInt32().ShouldBe(2);
        refused.GetProperty("series").EnumerateArray().Sum(count => count.GetInt32()).ShouldBe(2);
        var down = groups.Single(group => group.GetProperty("code").GetString() == "down");
        (down.GetProperty("phase").GetString(), down.GetProperty("refused").GetBoolean()).ShouldBe(("cancel", false));
        // The group as a filter: what the listing shows, and what an operation would be done to.
        (await api.Get("/api/v1/sagas?definition=book-trip&step=room&error=full")).Json.GetProperty("items").GetArrayLength().ShouldBe(2);

        foreach (var id in new[] { "a", "b" }) await api.Post($"/api/v1/sagas/{id}/terminate", """{"reason":"test"}""");
        groups = [.. (await api.Get("/api/v1/failures?definition=book-trip")).Json.GetProperty("items").EnumerateArray()];
        groups.Single(group => group.GetProperty("code").GetString() == "full").GetProperty("byStatus").GetProperty("Terminated").GetInt32().ShouldBe(2);
        (await api.Get("/api/v1/failures?definition=reserve")).Json.GetProperty("items").GetArrayLength().ShouldBe(0);
        (await api.Get("/api/v1/failures?definition=nowhere")).ShouldBeProblem(404, "unknown-definition", "'nowhere'");
    }

    [Fact]
    public async Task What_waits_is_listed_with_its_kind_the_longest_first()
    {
        await using var api = await ApiHost.StartAsync(command => command.Step == "seat" ? ScriptedTransport.Reply(command, Outcome.Busy) : null);
        await api.Post("/api/v1/definitions/book-trip/sagas?id=retried");
        await api.Post("/api/v1/definitions/book-trip/sagas?id=held");
        await api.Post("/api/v1/sagas/held/pause", """{"reason":"test"}""");
        JsonElement waiting = default;
        for (var found = 0; found < 2; found = waiting.GetProperty("items").GetArrayLength()) waiting = (await api.Get("/api/v1/waiting?step=seat")).Json;
        var items = waiting.GetProperty("items").EnumerateArray().ToDictionary(item => item.GetProperty("saga").GetString()!);
        items["retried"].GetProperty("step").GetString().ShouldBe("seat");
        items["retried"].GetProperty("phase").GetString().ShouldBe("try");
        items["retried"].GetProperty("kind").GetString().ShouldBeOneOf("retry", "reply");
        items["held"].GetProperty("kind").GetString().ShouldBe("operator");
        items["held"].GetProperty("dueAt").ValueKind.ShouldBe(JsonValueKind.Null);
        waiting.GetProperty("byKind").GetProperty("operator").GetInt32().ShouldBe(1);
        (await api.Get("/api/v1/waiting?kind=operator&limit=1")).Json.GetProperty("items").GetArrayLength().ShouldBe(1);
        (await api.Get("/api/v1/waiting?kind=godot")).ShouldBeProblem(400, "bad-parameter", "'godot'", "retry, reply");
    }

    [Fact]
    public async Task A_series_has_every_span_and_counts_what_happened()
    {
        await using var api = await ApiHost.StartAsync();
        await api.Post("/api/v1/definitions/book-trip/sagas?wait=30");
        foreach (var (query, spans, length) in new[] { ("minutes=2", 24, "PT5S"), ("minutes=60&definition=book-trip", 60, "PT1M"), ("definition=reserve", 180, "PT5S") })
        {
            var series = (await api.Get("/api/v1/stats/series?" + query)).Json;
            series.GetProperty("span").GetString().ShouldBe(length);
            var items = series.GetProperty("items").EnumerateArray().ToArray();
            items.Length.ShouldBe(spans);
            items.Sum(item => item.GetProperty("completedPerSecond").GetDouble()).ShouldBe(query.Contains("reserve") ? 0 : length == "PT5S" ? 0.2 : 0.017, query);
            items.Count(item => item.GetProperty("latencyMs").ValueKind == JsonValueKind.Object).ShouldBe(query.Contains("reserve") ? 0 : 1);
        }
        (await api.Get("/api/v1/stats/series?minutes=0")).ShouldBeProblem(400, "bad-parameter", "'0'");
    }

    [Fact]
    public async Task Each_definition_has_numbers_of_its_own()
    {
        await using var api = await ApiHost.StartAsync(command => command.Saga == "a" ? null : ScriptedTransport.Ok(command));
        await api.Post("/api/v1/definitions/book-trip/sagas?id=a");
        await api.Post(ApiHost.Start + "&wait=30");
        (await api.Get("/api/v1/stats?definition=reserve")).Json.GetProperty("byStatus").GetRawText().ShouldContain("\"Running\":0,\"Confirming\":0,\"Compensating\":0,\"Stuck\":0,\"Completed\":1");
        var items = (await api.Get("/api/v1/stats/definitions")).Json.GetProperty("items").EnumerateArray().ToArray();
        items.Select(item => $"{item.GetProperty("definition")} {item.GetProperty("version")}").ShouldBe(["book-trip 1", "reserve 2"]);
        items[0].GetProperty("stats").GetProperty("startedPerSecond").GetDouble().ShouldBeGreaterThan(0);
        items[0].GetProperty("stats").GetProperty("completedPerSecond").GetDouble().ShouldBe(0);
        items[1].GetProperty("stats").GetProperty("completedPerSecond").GetDouble().ShouldBeGreaterThan(0);
        var inFlight = (await api.Get("/api/v1/definitions/book-trip")).Json.GetProperty("inFlight");
        inFlight.GetProperty("byVersion").GetRawText().ShouldBe("""[{"version":1,"sagas":1}]""");
        inFlight.GetProperty("steps")[0].GetRawText().ShouldBe("""{"name":"seat","first":1,"second":0,"held":0,"retrying":0,"stuck":0}""");
    }
}
