using System.Text.Json;
using Sagas.Runtime;
using Shouldly;
using Xunit;

namespace Sagas.Tests.AspNetCore;

public sealed class ReadTests
{
    [Fact]
    public async Task A_saga_has_every_documented_field()
    {
        await using var api = await ApiHost.StartAsync(ScriptedTransport.Silent);
        await api.Post("/api/v1/definitions/book-trip/sagas?id=a");
        var saga = (await api.Get("/api/v1/sagas/a")).Json;
        string[] fields = ["id", "definition", "version", "status", "paused", "startedAt", "updatedAt", "finishedAt", "tags", "input", "result", "error", "waitingFor", "steps", "committedAt", "traceId", "mixed"];
        foreach (var field in fields) saga.TryGetProperty(field, out _).ShouldBeTrue(field);
        var step = saga.GetProperty("steps")[2];
        string[] stepFields = ["name", "kind", "status", "attempts", "nextAttemptAt", "startedAt", "finishedAt", "result", "error", "after"];
        foreach (var field in stepFields) step.TryGetProperty(field, out _).ShouldBeTrue(field);
        step.GetProperty("name").GetString().ShouldBe("pay");
        step.GetProperty("kind").GetString().ShouldBe("do");
        step.GetProperty("status").GetString().ShouldBe("Pending");
        step.GetProperty("after").GetRawText().ShouldBe("""["seat","room"]""");
        saga.GetProperty("waitingFor").GetString().ShouldBe("reply of seats to try of 'seat', attempt 1, and for 1 other step");
        saga.GetProperty("result").ValueKind.ShouldBe(JsonValueKind.Null);
    }

    [Fact]
    public async Task An_unknown_saga_is_404_and_a_bad_id_400()
    {
        await using var api = await ApiHost.StartAsync();
        foreach (var path in new[] { "", "/history" })
        {
            (await api.Get("/api/v1/sagas/nobody" + path)).ShouldBeProblem(404, "unknown-saga", "'nobody'");
            (await api.Get("/api/v1/sagas/-x" + path)).ShouldBeProblem(400, "bad-parameter", "'-x'");
        }
        (await api.Get("/api/v1/sagas/nobody?wait=1")).ShouldBeProblem(404, "unknown-saga");
        (await api.Get("/api/v1/sagas/a?wait=x")).ShouldBeProblem(400, "bad-parameter", "'x'");
    }

    [Fact]
    public async Task Getting_with_wait_answers_once_the_saga_ended()
    {
        await using var api = await ApiHost.StartAsync();
        await api.Post("/api/v1/definitions/book-trip/sagas?id=a");
        (await api.Get("/api/v1/sagas/a?wait=30")).At("status").ShouldBe("Completed");
    }

    [Fact]
    public async Task Listing_pages_newest_first_without_payloads_and_with_lanes()
    {
        await using var api = await ApiHost.StartAsync(ScriptedTransport.Silent);
        foreach (var id in new[] { "a", "b", "c" }) await api.Post(ApiHost.Start + $"&id={id}&tag=n:{id}");
        var first = await api.Get("/api/v1/sagas?limit=2");
        var rest = await api.Get("/api/v1/sagas?limit=2&cursor=" + first.At("next"));
        var items = first.Json.GetProperty("items").EnumerateArray().Concat(rest.Json.GetProperty("items").EnumerateArray()).ToArray();
        items.Select(i => i.GetProperty("id").GetString()).Order().ShouldBe(["a", "b", "c"]);
        rest.Json.GetProperty("next").ValueKind.ShouldBe(JsonValueKind.Null);
        items[0].TryGetProperty("input", out _).ShouldBeFalse();
        items[0].GetProperty("committed").GetBoolean().ShouldBeFalse();
        items[0].GetProperty("step").GetString().ShouldBe("seat");
        items[0].GetProperty("attempts").GetInt32().ShouldBe(1);
        items[0].GetProperty("steps").GetRawText().ShouldBe("""[{"name":"seat","status":"Trying","first":"run","second":"none"}]""");
    }

    [Fact]
    public async Task Listing_and_counting_take_the_same_filters()
    {
        await using var api = await ApiHost.StartAsync(ScriptedTransport.Silent);
        await api.Post(ApiHost.Start + "&id=a&tag=team:red");
        await api.Post("/api/v1/definitions/book-trip/sagas?id=b&tag=team:blue");
        foreach (var (query, ids) in new[]
        {
            ("status=Running,Stuck", "a b"), ("status=Completed", ""), ("definition=reserve", "a"), ("tag=team:blue", "b"), ("q=a", "a"), ("q=red", "a"),
            ("startedAfter=2020-01-01T00:00:00Z&startedBefore=2099-01-01T00:00:00%2B02:00", "a b"), ("startedBefore=2020-01-01T00:00:00.5+02:00", ""), ("q=", "a b"),
        })
        {
            var list = await api.Get("/api/v1/sagas?" + query);
            string.Join(' ', list.Json.GetProperty("items").EnumerateArray().Select(i => i.GetProperty("id").GetString()).Order()).ShouldBe(ids, query);
            (await api.Get("/api/v1/sagas/counts?" + query)).Json.GetProperty("byStatus").EnumerateObject().Sum(s => s.Value.GetInt32()).ShouldBe(ids.Split(' ', StringSplitOptions.RemoveEmptyEntries).Length, query);
        }
        (await api.Get("/api/v1/sagas/counts")).Text.ShouldBe(
            """{"byStatus":{"Running":2,"Confirming":0,"Compensating":0,"Stuck":0,"Completed":0,"Compensated":0,"Terminated":0}}""");
    }

    [Theory]
    [InlineData("limit=0", "'0'", "1 to 500")]
    [InlineData("limit=501", "'501'", "1 to 500")]
    [InlineData("limit=ten", "'ten'", "1 to 500")]
    [InlineData("cursor=nonsense", "'nonsense'", "next")]
    [InlineData("status=Lost", "'Lost'", "Running, Confirming")]
    [InlineData("status=1", "'1'", "Running, Confirming")]
    [InlineData("startedAfter=yesterday", "'yesterday'", "RFC 3339")]
    [InlineData("startedBefore=2026-01-31T12:00:00", "'2026-01-31T12:00:00'", "offset")]
    [InlineData("startedBefore=2026-13-31T12:00:00Z", "'2026-13-31T12:00:00Z'", "RFC 3339")]
    [InlineData("tag=red", "'red'", "key:value")]
    public async Task A_filter_that_does_not_fit_is_400_and_named(string query, params string[] words)
    {
        await using var api = await ApiHost.StartAsync();
        (await api.Get("/api/v1/sagas?" + query)).ShouldBeProblem(400, "bad-parameter", words).At("parameter").ShouldBe(query.Split('=')[0]);
    }

    [Fact]
    public async Task History_pages_in_order()
    {
        await using var api = await ApiHost.StartAsync();
        await api.Post("/api/v1/definitions/book-trip/sagas?id=a&wait=30");
        var all = new List<JsonElement>();
        string? cursor = "0";
        while (cursor is not null)
        {
            var page = await api.Get($"/api/v1/sagas/a/history?limit=2&cursor={cursor}");
            page.Status.ShouldBe(200, page.Text);
            page.Json.GetProperty("items").GetArrayLength().ShouldBeInRange(1, 2);
            all.AddRange(page.Json.GetProperty("items").EnumerateArray());
            cursor = page.Json.GetProperty("next").GetString();
        }
        all.Select(e => e.GetProperty("seq").GetInt32()).ShouldBe(Enumerable.Range(1, all.Count));
        all[0].GetProperty("event").GetString().ShouldBe("started");
        all[^1].GetProperty("event").GetString().ShouldBe("completed");
        all[0].EnumerateObject().Select(p => p.Name).ShouldBe(["seq", "time", "event", "step", "phase", "attempt", "outcome", "detail", "by", "reason"]);
        (await api.Get("/api/v1/sagas/a/history?cursor=x")).ShouldBeProblem(400, "bad-parameter", "'x'");
        (await api.Get("/api/v1/sagas/a/history?limit=0")).ShouldBeProblem(400, "bad-parameter", "'0'");
    }

    [Fact]
    public async Task Stats_have_their_documented_shape()
    {
        await using var api = await ApiHost.StartAsync();
        (await api.Get("/api/v1/stats")).At("oldestUnfinishedAt").ShouldBe("null");
        await api.Post("/api/v1/definitions/book-trip/sagas?wait=30");
        var stats = (await api.Get("/api/v1/stats")).Json;
        stats.EnumerateObject().Select(p => p.Name).ShouldBe(["byStatus", "startedPerSecond", "completedPerSecond", "compensatedPerSecond", "terminatedPerSecond", "failedPerSecond", "latencyMs", "oldestUnfinishedAt"]);
        stats.GetProperty("latencyMs").EnumerateObject().Select(p => p.Name).ShouldBe(["p50", "p95", "p99"]);
        stats.GetProperty("byStatus").GetProperty("Completed").GetInt32().ShouldBe(1);
    }

    [Fact]
    public async Task A_node_alone_lists_itself()
    {
        await using var api = await ApiHost.StartAsync();
        var node = (await api.Get("/api/v1/nodes")).Json.GetProperty("items").EnumerateArray().ShouldHaveSingleItem();
        node.EnumerateObject().Select(p => p.Name).ShouldBe(["id", "startedAt", "heartbeatAt", "alive", "sagas"]);
        node.GetProperty("alive").GetBoolean().ShouldBeTrue();
        node.GetProperty("sagas").GetInt32().ShouldBe(0);
    }

    [Fact]
    public async Task Health_follows_the_store()
    {
        await using var api = await ApiHost.StartAsync();
        (await api.Get("/health/live")).Status.ShouldBe(200);
        (await api.Get("/health/ready")).At("status").ShouldBe("ready");
        api.Store.Said = new StoreHealth(StoreLevel.Low, "5 GiB are left");
        (await api.Get("/health/ready")).At("detail").ShouldBe("5 GiB are left");
        api.Store.Said = new StoreHealth(StoreLevel.Down, "The disk is full. Make room.");
        (await api.Get("/health/ready")).ShouldBeProblem(503, "not-ready", "The disk is full.");
        (await api.Get("/health/live")).Status.ShouldBe(200);
        (await api.Send(HttpMethod.Head, "/health/live")).Status.ShouldBe(200);
    }
}
