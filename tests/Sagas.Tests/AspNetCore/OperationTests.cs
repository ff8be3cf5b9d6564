using Sagas.Runtime;
using Shouldly;
using Xunit;

namespace Sagas.Tests.AspNetCore;

/// <summary>One request to many sagas.</summary>
public sealed class OperationTests
{
    private const string Calls = "/api/v1/operations";

    [Fact]
    public async Task A_dry_run_counts_and_changes_nothing()
    {
        await using var api = await OpenAsync(5);
        var counted = await api.Post(Calls, """{"action":"terminate","filter":{"tag":"half:1"},"reason":"try","dryRun":true}""");
        counted.Status.ShouldBe(200, counted.Text);
        counted.Text.ShouldBe("""{"matched":3}""");
        (await api.Get(Calls)).At("items").ShouldBe("[]");
        (await api.Get("/api/v1/sagas/counts")).Json.GetProperty("byStatus").GetProperty("Running").GetInt32().ShouldBe(5);
    }

    [Fact]
    public async Task An_operation_asks_all_that_match_and_history_says_who_and_why()
    {
        await using var api = await OpenAsync(250);
        var begun = await api.Post(Calls, """{"action":"pause","filter":{"status":["Running","Stuck"],"definition":"reserve","tag":["half:1"]},"reason":"the hotel is closed"}""", headers: ("X-Operator", "ann"));
        begun.Status.ShouldBe(202, begun.Text);
        begun.At("matched").ShouldBe("125");
        begun.At("action").ShouldBe("pause");
        begun.At("by").ShouldBe("ann");
        begun.Json.GetProperty("filter").GetProperty("status").GetRawText().ShouldBe("""["Running","Stuck"]""");
        begun.Json.GetProperty("filter").GetProperty("tag").GetRawText().ShouldBe("""["half:1"]""");
        var done = await EndOfAsync(api, begun.Header("Location")!);
        (done.At("status"), done.At("done"), done.At("failed"), done.At("reason")).ShouldBe(("done", "125", "0", "the hotel is closed"));
        done.At("finishedAt").ShouldNotBe("null");
        (await api.Get("/api/v1/sagas/s001")).At("paused").ShouldBe("true");
        (await api.Get("/api/v1/sagas/s002")).At("paused").ShouldBe("false");
        var entry = (await api.Get("/api/v1/sagas/s001/history")).Json.GetProperty("items").EnumerateArray().Single(e => e.GetProperty("event").GetString() == "paused");
        (entry.GetProperty("by").GetString(), entry.GetProperty("reason").GetString()).ShouldBe(("ann", "the hotel is closed"));
    }

    [Fact]
    public async Task Those_that_cannot_are_counted_and_named_with_the_reason()
    {
        await using var api = await OpenAsync(3);
        await api.Post("/api/v1/sagas/s001/pause", """{"reason":"first"}""");
        var done = await RunAsync(api, """{"action":"pause","filter":{},"reason":"all"}""");
        (done.At("matched"), done.At("done"), done.At("failed")).ShouldBe(("3", "2", "1"));
        var error = done.Json.GetProperty("errors").EnumerateArray().Single();
        error.GetProperty("id").GetString().ShouldBe("s001");
        error.GetProperty("message").GetString().ShouldBe("Saga 's001' is paused already.");
    }

    [Theory]
    [InlineData("cancel", "Compensating")]
    [InlineData("terminate", "Terminated")]
    public async Task Cancel_and_terminate_do_what_the_single_calls_do(string action, string status)
    {
        await using var api = await OpenAsync(2);
        (await RunAsync(api, $$"""{"action":"{{action}}","filter":{"q":"s00"},"reason":"enough"}""")).At("done").ShouldBe("2");
        (await api.Get("/api/v1/sagas/counts")).Json.GetProperty("byStatus").GetProperty(status).GetInt32().ShouldBe(2);
    }

    [Fact]
    public async Task Retry_and_resume_let_many_go_on()
    {
        await using var api = await OpenAsync(2);
        await RunAsync(api, """{"action":"pause","filter":{},"reason":"hold"}""");
        api.Participants.Script = ScriptedTransport.Ok;
        (await RunAsync(api, """{"action":"resume","filter":{},"reason":"go on"}""")).At("done").ShouldBe("2");
        var retried = await RunAsync(api, """{"action":"retry","filter":{"status":"Running"},"reason":"now"}""");
        (long.Parse(retried.At("done")!) + long.Parse(retried.At("failed")!)).ShouldBe(long.Parse(retried.At("matched")!));
    }

    [Fact]
    public async Task A_running_operation_shows_its_progress_and_can_be_stopped_once()
    {
        await using var api = await OpenAsync(300);
        // The store stands still in the middle of the second page.
        var gate = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var asked = 0;
        api.Store.BeforeCommit = async commit =>
        {
            if (commit.State.Paused && Interlocked.Increment(ref asked) > 150) await gate.Task;
        };
        var begun = await api.Post(Calls, """{"action":"pause","filter":{},"reason":"hold"}""");
        var at = begun.Header("Location")!;
        while (int.Parse((await api.Get(at)).At("done")!) < 100) await Task.Yield();
        (await api.Get(at)).At("status").ShouldBe("running");
        (await api.Post(at + "/cancel", "{}")).ShouldBeProblem(400, "reason-required");
        var stopping = api.Post(at + "/cancel", """{"reason":"wrong filter"}""", headers: ("X-Operator", "bob"));
        while ((await api.Get(at)).At("cancelReason") == "null") await Task.Yield();
        gate.SetResult();
        var stopped = await stopping;
        stopped.Status.ShouldBe(202, stopped.Text);
        (stopped.At("status"), stopped.At("cancelledBy"), stopped.At("cancelReason")).ShouldBe(("cancelled", "bob", "wrong filter"));
        var done = int.Parse(stopped.At("done")!);
        done.ShouldBeInRange(100, 299);
        (await api.Engine.ListAsync(new SagaFilter(), 500, null)).Items.Count(saga => saga.Paused).ShouldBe(done);
        (await api.Post(at + "/cancel", """{"reason":"again"}""")).ShouldBeProblem(409, "wrong-state", "has ended (cancelled)");
        (await api.Get(at)).Text.ShouldBe(stopped.Text);
    }

    [Fact]
    public async Task A_restart_goes_on_where_the_operation_was_and_asks_nobody_twice()
    {
        var store = new BreakableStore();
        await using (var api = await OpenAsync(1, store))
        {
            for (var i = 2; i <= 250; i++) await StartAsync(api, i);
            // What a node that was killed leaves behind: a page of which some were asked, and an operation that nobody saves any more.
            foreach (var id in (string[])["s250", "s249", "s248"]) await api.Post($"/api/v1/sagas/{id}/pause", """{"reason":"hold"}""", headers: ("X-Operator", "ann"));
            await store.SaveOperationAsync(new Operation
            {
                Id = Guid.CreateVersion7().ToString("N"), Version = 1, Action = OperationAction.Pause, Filter = new SagaFilter(), Reason = "hold", By = "ann", Matched = 250,
                StartedAt = DateTimeOffset.UtcNow.AddMinutes(-5), UpdatedAt = DateTimeOffset.UtcNow.AddMinutes(-5), Node = "gone",
            }, default);
        }
        await using var again = await ApiHost.StartAsync(ScriptedTransport.Silent, store: store);
        var id2 = (await store.OperationsAsync(default)).Single().Id;
        var done = await EndOfAsync(again, $"{Calls}/{id2}");
        (done.At("status"), done.At("matched"), done.At("done"), done.At("failed")).ShouldBe(("done", "250", "250", "0"));
        (await again.Engine.ListAsync(new SagaFilter(), 500, null)).Items.ShouldAllBe(saga => saga.Paused);
        (await again.Get("/api/v1/sagas/s249/history")).Json.GetProperty("items").EnumerateArray().Count(e => e.GetProperty("event").GetString() == "paused").ShouldBe(1);
    }

    [Fact]
    public async Task A_node_that_stops_leaves_its_operation_to_the_next()
    {
        var store = new BreakableStore();
        string at;
        await using (var api = await OpenAsync(300, store))
        {
            var gate = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            var asked = 0;
            store.BeforeCommit = async commit =>
            {
                if (commit.State.Paused && Interlocked.Increment(ref asked) > 120) await gate.Task;
            };
            at = (await api.Post(Calls, """{"action":"pause","filter":{},"reason":"hold"}""")).Header("Location")!;
            while (int.Parse((await api.Get(at)).At("done")!) < 100) await Task.Yield();
            var stopping = api.DisposeAsync();
            store.BeforeCommit = null;
            gate.SetResult();
            await stopping;
            (await store.OperationsAsync(default)).Single().Status.ShouldBe(OperationStatus.Running);
        }
        await using var again = await ApiHost.StartAsync(ScriptedTransport.Silent, store: store);
        var done = await EndOfAsync(again, at);
        (done.At("status"), done.At("done"), done.At("failed")).ShouldBe(("done", "300", "0"));
    }

    [Fact]
    public async Task Operations_are_listed_newest_first_and_by_pages()
    {
        await using var api = await OpenAsync(1);
        foreach (var word in (string[])["one", "two", "three"]) await RunAsync(api, $$"""{"action":"retry","filter":{},"reason":"{{word}}"}""");
        var page = await api.Get(Calls + "?limit=2");
        Reasons(page).ShouldBe(["three", "two"]);
        var rest = await api.Get($"{Calls}?limit=2&cursor={page.At("next")}");
        Reasons(rest).ShouldBe(["one"]);
        rest.At("next").ShouldBe("null");
        (await api.Get(Calls + "?cursor=x")).ShouldBeProblem(400, "bad-parameter", "'x'");
        (await api.Get(Calls + "/nowhere")).ShouldBeProblem(404, "unknown-operation", "'nowhere'");
        (await api.Post(Calls + "/nowhere/cancel", """{"reason":"x"}""")).ShouldBeProblem(404, "unknown-operation");

        static IEnumerable<string?> Reasons(Reply reply) => reply.Json.GetProperty("items").EnumerateArray().Select(item => item.GetProperty("reason").GetString());
    }

    [Theory]
    [InlineData("""{"filter":{},"reason":"x"}""", "bad-body", "$.action")]
    [InlineData("""{"action":"signal","filter":{},"reason":"x"}""", "bad-body", "$.action")]
    [InlineData("""{"action":"retry","reason":"x"}""", "bad-body", "$.filter")]
    [InlineData("""{"action":"retry","filter":[],"reason":"x"}""", "bad-body", "$.filter")]
    [InlineData("""{"action":"retry","filter":{"colour":"red"},"reason":"x"}""", "bad-body", "$.filter.colour")]
    [InlineData("""{"action":"retry","filter":{"limit":"5"},"reason":"x"}""", "bad-body", "$.filter.limit")]
    [InlineData("""{"action":"retry","filter":{"status":"Lost"},"reason":"x"}""", "bad-parameter", "$.filter.status")]
    [InlineData("""{"action":"retry","filter":{"status":5},"reason":"x"}""", "bad-body", "$.filter.status")]
    [InlineData("""{"action":"retry","filter":{"startedAfter":"today"},"reason":"x"}""", "bad-parameter", "$.filter.startedAfter")]
    [InlineData("""{"action":"retry","filter":{"q":["a","b"]},"reason":"x"}""", "bad-parameter", "$.filter.q")]
    [InlineData("""{"action":"retry","filter":{}}""", "reason-required", "$.reason")]
    [InlineData("""{"action":"retry","filter":{},"reason":"x","dryRun":"yes"}""", "bad-body", "$.dryRun")]
    [InlineData("""{"action":"retry","filter":{},"reason":"x","force":true}""", "bad-body", "$.force")]
    public async Task What_does_not_fit_is_400_with_its_path(string body, string name, string path)
    {
        await using var api = await ApiHost.StartAsync();
        (await api.Post(Calls, body)).ShouldBeProblem(400, name).At("path").ShouldBe(path);
        (await api.Get(Calls)).At("items").ShouldBe("[]");
    }

    /// <summary>That many sagas whose participant is silent, tagged by halves.</summary>
    private static async Task<ApiHost> OpenAsync(int sagas, BreakableStore? store = null)
    {
        var api = await ApiHost.StartAsync(ScriptedTransport.Silent, store: store);
        for (var i = 1; i <= sagas; i++) await StartAsync(api, i);
        return api;
    }

    private static async Task StartAsync(ApiHost api, int i) => (await api.Post($"{ApiHost.Start}&id=s{i:D3}&tag=half:{i % 2}")).Status.ShouldBe(202);

    private static async Task<Reply> RunAsync(ApiHost api, string body) => await EndOfAsync(api, (await api.Post(Calls, body)).Header("Location")!);

    private static async Task<Reply> EndOfAsync(ApiHost api, string at)
    {
        while (true)
        {
            var reply = await api.Get(at);
            if (reply.At("status") != "running") return reply;
            await Task.Yield();
        }
    }
}
