using Shouldly;
using Xunit;

namespace Sagas.Tests.AspNetCore;

/// <summary>Server-sent events: one saga, and the feed of all.</summary>
public sealed class StreamTests
{
    [Fact]
    public async Task A_sagas_stream_shows_it_now_at_each_change_and_its_end()
    {
        await using var api = await ApiHost.StartAsync(ScriptedTransport.Silent);
        await api.Post(ApiHost.Start + "&id=a");
        using var events = await api.Listen("/api/v1/sagas/a/events");
        (await events.Next("saga")).GetProperty("status").GetString().ShouldBe("Running");
        var command = api.Participants.Sent.Take();

        await api.Engine.ReceiveAsync(new ReplyBatch([ScriptedTransport.Ok(command)]), default);
        (await events.Next("saga")).GetProperty("status").GetString().ShouldBe("Confirming");
        await api.Engine.ReceiveAsync(new ReplyBatch([ScriptedTransport.Ok(api.Participants.Sent.Take())]), default);
        var (name, data) = (await events.Next())!.Value;
        (name, data.GetProperty("status").GetString(), data.GetProperty("id").GetString()).ShouldBe(("end", "Completed", "a"));
        (await events.Next()).ShouldBeNull();
    }

    [Fact]
    public async Task The_stream_of_an_ended_saga_is_its_end()
    {
        await using var api = await ApiHost.StartAsync();
        await api.Post(ApiHost.Start + "&id=a&wait=30");
        using var events = await api.Listen("/api/v1/sagas/a/events");
        (await events.Next())!.Value.Name.ShouldBe("end");
        (await events.Next()).ShouldBeNull();
        (await api.Get("/api/v1/sagas/nobody/events")).ShouldBeProblem(404, "unknown-saga", "'nobody'");
        (await api.Send(HttpMethod.Head, "/api/v1/sagas/a/events")).Status.ShouldBe(200);
    }

    [Fact]
    public async Task The_feed_shows_the_sagas_that_match_and_numbers()
    {
        await using var api = await ApiHost.StartAsync(ScriptedTransport.Silent);
        using var all = await api.Listen("/api/v1/feed");
        using var red = await api.Listen("/api/v1/feed?tag=team:red&definition=reserve");
        (await all.Next("stats")).GetProperty("byStatus").GetProperty("Running").GetInt32().ShouldBe(0);
        await api.Post(ApiHost.Start + "&id=blue&tag=team:blue");
        await api.Post("/api/v1/definitions/book-trip/sagas?id=trip&tag=team:red");
        await api.Post(ApiHost.Start + "&id=red&tag=team:red");
        (await red.Next("saga")).GetProperty("id").GetString().ShouldBe("red");
        var seen = new HashSet<string?>();
        while (seen.Count < 3) seen.Add((await all.Next("saga")).GetProperty("id").GetString());
        seen.Order().ShouldBe(["blue", "red", "trip"]);
        while ((await all.Next("stats")).GetProperty("byStatus").GetProperty("Running").GetInt32() != 3)
        {
        }
        (await api.Get("/api/v1/feed?status=Lost")).ShouldBeProblem(400, "bad-parameter", "'Lost'");
    }

    [Fact]
    public async Task A_saga_that_leaves_the_filter_is_shown_once_more()
    {
        await using var api = await ApiHost.StartAsync(ScriptedTransport.Silent);
        using var running = await api.Listen("/api/v1/feed?status=Running");
        await api.Post(ApiHost.Start + "&id=a");
        (await running.Next("saga")).GetProperty("status").GetString().ShouldBe("Running");
        await api.Post("/api/v1/sagas/a/terminate", """{"reason":"test"}""");
        (await running.Next("saga")).GetProperty("status").GetString().ShouldBe("Terminated");
    }

    [Fact]
    public async Task Streams_end_when_the_node_stops()
    {
        await using var api = await ApiHost.StartAsync(ScriptedTransport.Silent);
        await api.Post(ApiHost.Start + "&id=a");
        using var saga = await api.Listen("/api/v1/sagas/a/events");
        using var feed = await api.Listen("/api/v1/feed");
        await saga.Next("saga");
        await feed.Next("stats");
        await api.StopAsync();
        (await saga.Next()).ShouldBeNull();
        while (await feed.Next() is { } next) next.Name.ShouldBe("stats");
    }

    [Fact]
    public async Task A_saga_says_what_an_operator_may_ask()
    {
        await using var api = await ApiHost.StartAsync(ScriptedTransport.Silent);
        await api.Post("/api/v1/definitions/book-trip/sagas?id=a");
        (await api.Get("/api/v1/sagas/a")).At("actions").ShouldBe("""["cancel","pause","terminate"]""");
        await api.Post("/api/v1/sagas/a/pause", """{"reason":"test"}""");
        (await api.Get("/api/v1/sagas/a")).At("actions").ShouldBe("""["cancel","resume","terminate"]""");
        await api.Post("/api/v1/sagas/a/terminate", """{"reason":"test"}""");
        (await api.Get("/api/v1/sagas/a")).At("actions").ShouldBe("[]");
    }

    [Fact]
    public async Task A_saga_that_waits_for_a_retry_shows_step_phase_and_error_and_is_found_by_it()
    {
        await using var api = await ApiHost.StartAsync(command => command.Step == "seat" ? ScriptedTransport.Reply(command, Outcome.Error, "57P03", "starting up") : null);
        await api.Post("/api/v1/definitions/book-trip/sagas?id=a");
        await api.Post(ApiHost.Start + "&id=b");
        var ids = "";
        while (ids != "a b") ids = string.Join(' ', (await api.Get("/api/v1/sagas?error=57P03")).Json.GetProperty("items").EnumerateArray().Select(i => i.GetProperty("id").GetString()).Order());
        var saga = (await api.Get("/api/v1/sagas?error=57P03&definition=book-trip&step=seat")).Json.GetProperty("items")[0];
        saga.GetProperty("id").GetString().ShouldBe("a");
        saga.GetProperty("step").GetString().ShouldBe("seat");
        saga.GetProperty("phase").GetString().ShouldBe("try");
        saga.GetProperty("stepError").GetRawText().ShouldBe("""{"step":"seat","code":"57P03","message":"starting up"}""");
        (await api.Get("/api/v1/sagas/counts?error=57P03&step=room")).Json.GetProperty("byStatus").EnumerateObject().Sum(s => s.Value.GetInt32()).ShouldBe(0);
    }
}
