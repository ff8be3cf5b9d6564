using Shouldly;
using Xunit;

namespace Sagas.Tests.AspNetCore;

public sealed class OperatorTests
{
    private const string Why = """{"reason":"the customer called"}""";

    [Fact]
    public async Task Cancel_turns_a_saga_back_and_history_says_who_and_why()
    {
        await using var api = await ApiHost.StartAsync(item => item.Phase == Phase.Try ? null : ScriptedTransport.Ok(item));
        await api.Post(ApiHost.Start + "&id=a");
        var cancelled = await api.Post("/api/v1/sagas/a/cancel", Why, headers: ("X-Operator", "ann"));
        cancelled.Status.ShouldBe(202, cancelled.Text);
        (await api.Get("/api/v1/sagas/a?wait=30")).At("status").ShouldBe("Compensated");
        var asked = (await api.Get("/api/v1/sagas/a/history")).Json.GetProperty("items").EnumerateArray().Single(e => e.GetProperty("event").GetString() == "cancel-requested");
        asked.GetProperty("by").GetString().ShouldBe("ann");
        asked.GetProperty("reason").GetString().ShouldBe("the customer called");
        (await api.Post("/api/v1/sagas/a/cancel", Why)).ShouldBeProblem(409, "wrong-state");
    }

    [Fact]
    public async Task Pause_and_resume_and_retry_answer_202_or_409()
    {
        await using var api = await ApiHost.StartAsync(ScriptedTransport.Silent);
        await api.Post(ApiHost.Start + "&id=a");
        (await api.Post("/api/v1/sagas/a/resume", Why)).ShouldBeProblem(409, "wrong-state");
        (await api.Post("/api/v1/sagas/a/retry", Why)).ShouldBeProblem(409, "wrong-state");
        var paused = await api.Post("/api/v1/sagas/a/pause", Why);
        paused.Status.ShouldBe(202, paused.Text);
        paused.At("paused").ShouldBe("true");
        paused.At("waitingFor")!.ShouldStartWith("an operator to resume it");
        (await api.Post("/api/v1/sagas/a/pause", Why)).ShouldBeProblem(409, "wrong-state");
        (await api.Post("/api/v1/sagas/a/resume", Why)).At("paused").ShouldBe("false");
    }

    [Fact]
    public async Task Terminate_ends_a_saga_where_it_stands()
    {
        await using var api = await ApiHost.StartAsync(ScriptedTransport.Silent);
        await api.Post(ApiHost.Start + "&id=a");
        var ended = await api.Post("/api/v1/sagas/a/terminate", Why);
        ended.Status.ShouldBe(202, ended.Text);
        ended.At("status").ShouldBe("Terminated");
        ended.At("waitingFor").ShouldBe("null");
    }

    [Fact]
    public async Task A_failing_confirm_is_resolved_by_an_operators_word()
    {
        await using var api = await ApiHost.StartAsync(item => item.Phase == Phase.Confirm ? ScriptedTransport.Reply(item, Outcome.Error, "broken", "no power") : ScriptedTransport.Ok(item), o => o.StuckAfter = 1);
        await api.Post(ApiHost.Start + "&id=a");
        while (api.Participants.Sent.Take().Phase != Phase.Confirm) { }
        (await api.Post("/api/v1/sagas/a/steps/nowhere/resolve", """{"outcome":"done","reason":"seen"}""")).ShouldBeProblem(404, "unknown-step", "'nowhere'", "seat");
        var resolved = await api.Post("/api/v1/sagas/a/steps/seat/resolve", """{"outcome":"notDone","reason":"it expired"}""");
        resolved.Status.ShouldBe(202, resolved.Text);
        resolved.At("status").ShouldBe("Terminated");
        resolved.At("mixed").ShouldBe("true");
        (await api.Post("/api/v1/sagas/a/steps/seat/resolve", """{"outcome":"done","reason":"seen"}""")).ShouldBeProblem(409, "wrong-state");
    }

    [Theory]
    [InlineData(Phase.Confirm, "Completed")]
    [InlineData(Phase.Cancel, "Compensated")]
    public async Task Retry_asks_again_at_once_out_of_a_long_backoff(Phase failing, string end)
    {
        // The next attempt would come in an hour.
        await using var api = await ApiHost.StartAsync(item => item.Phase == failing && item.Attempt == 1 ? ScriptedTransport.Reply(item, Outcome.Error, "broken", "no power")
            : item.Phase == Phase.Try && failing == Phase.Cancel ? ScriptedTransport.Reply(item, Outcome.Error, "broken", "no power") : ScriptedTransport.Ok(item));
        await api.Post(ApiHost.Start + "&id=a");
        while (api.Participants.Sent.Take().Phase != failing) { }
        var retried = await api.Post("/api/v1/sagas/a/retry", Why, headers: ("X-Operator", "ann"));
        retried.Status.ShouldBe(202, retried.Text);
        (await api.Get("/api/v1/sagas/a?wait=30")).At("status").ShouldBe(end);
        (await AskedAsync(api, "retry-requested")).ShouldBe("ann: the customer called");
    }

    [Fact]
    public async Task Cancel_lifts_a_pause_and_is_accepted_again_while_the_saga_is_undone()
    {
        await using var api = await ApiHost.StartAsync(ScriptedTransport.Silent);
        await api.Post(ApiHost.Start + "&id=a");
        await api.Post("/api/v1/sagas/a/pause", Why);
        (await api.Post("/api/v1/sagas/a/retry", Why)).ShouldBeProblem(409, "wrong-state", "'a' is paused", "Resume it first");
        var cancelled = await api.Post("/api/v1/sagas/a/cancel", Why);
        (cancelled.Status, cancelled.At("paused"), cancelled.At("status")).ShouldBe((202, "false", "Compensating"));
        (await api.Post("/api/v1/sagas/a/cancel", Why)).Status.ShouldBe(202);
        (await api.Post("/api/v1/sagas/a/resume", Why)).ShouldBeProblem(409, "wrong-state", "'a' is not paused");
    }

    [Fact]
    public async Task After_the_commit_point_a_saga_is_not_cancelled()
    {
        await using var api = await ApiHost.StartAsync(item => item.Phase == Phase.Confirm ? null : ScriptedTransport.Ok(item));
        await api.Post(ApiHost.Start + "&id=a");
        while (api.Participants.Sent.Take().Phase != Phase.Confirm) { }
        (await api.Post("/api/v1/sagas/a/cancel", Why)).ShouldBeProblem(409, "wrong-state", "past its commit point", "Resolve a stuck step, or terminate it");
    }

    [Fact]
    public async Task While_the_pivot_is_out_a_saga_is_not_cancelled_and_a_failing_pivot_is_resolved_with_its_result()
    {
        await using var api = await ApiHost.StartAsync(item => item.Step != "pay" ? ScriptedTransport.Ok(item) : item.Attempt == 1 ? ScriptedTransport.Reply(item, Outcome.Error, "broken", "no power") : null);
        await api.Post("/api/v1/definitions/book-trip/sagas?id=a");
        while (api.Participants.Sent.Take().Step != "pay") { }
        (await api.Post("/api/v1/sagas/a/cancel", Why)).ShouldBeProblem(409, "wrong-state", "'pay'", "Wait for its answer");
        (await api.Post("/api/v1/sagas/a/steps/seat/resolve", """{"outcome":"done","reason":"seen"}""")).ShouldBeProblem(409, "wrong-state", "'seat'", "not failing");
        var resolved = await api.Post("/api/v1/sagas/a/steps/pay/resolve", """{"outcome":"done","result":{"id":"p7"},"reason":"the bank says so"}""", headers: ("X-Operator", "ann"));
        resolved.Status.ShouldBe(202, resolved.Text);
        var saga = await api.Get("/api/v1/sagas/a?wait=30");
        saga.At("status").ShouldBe("Completed");
        saga.Json.GetProperty("steps").EnumerateArray().Single(s => s.GetProperty("name").GetString() == "pay").GetProperty("result").GetRawText().ShouldBe("""{"id":"p7"}""");
        (await AskedAsync(api, "resolved")).ShouldBe("ann: the bank says so");
    }

    [Fact]
    public async Task A_failing_cancel_that_is_resolved_as_done_lets_the_saga_end_undone()
    {
        await using var api = await ApiHost.StartAsync(item => item.Phase is Phase.Try or Phase.Cancel ? ScriptedTransport.Reply(item, Outcome.Error, "broken", "no power") : ScriptedTransport.Ok(item));
        await api.Post(ApiHost.Start + "&id=a");
        while (api.Participants.Sent.Take().Phase != Phase.Cancel) { }
        var resolved = await api.Post("/api/v1/sagas/a/steps/seat/resolve", """{"outcome":"done","reason":"given back by hand"}""");
        (resolved.Status, resolved.At("status"), resolved.At("mixed")).ShouldBe((202, "Compensated", "false"));
    }

    [Theory]
    [InlineData("cancel", "cancel-requested")]
    [InlineData("pause", "paused")]
    [InlineData("terminate", "terminate-requested")]
    public async Task History_says_who_asked_when_and_why(string call, string happened)
    {
        await using var api = await ApiHost.StartAsync(ScriptedTransport.Silent);
        await api.Post(ApiHost.Start + "&id=a");
        var before = DateTimeOffset.UtcNow.AddMilliseconds(-1);
        await api.Post("/api/v1/sagas/a/" + call, Why, headers: ("X-Operator", "ann"));
        (await AskedAsync(api, happened)).ShouldBe("ann: the customer called");
        (await api.Get("/api/v1/sagas/a/history")).Json.GetProperty("items").EnumerateArray().Single(e => e.GetProperty("event").GetString() == happened)
            .GetProperty("time").GetDateTimeOffset().ShouldBeInRange(before, DateTimeOffset.UtcNow);
        if (call != "pause") return;
        await api.Post("/api/v1/sagas/a/resume", """{"reason":"it is open again"}""");
        (await AskedAsync(api, "resumed")).ShouldBe("anonymous: it is open again");
    }

    [Theory]
    [InlineData("cancel")]
    [InlineData("retry")]
    [InlineData("pause")]
    [InlineData("resume")]
    [InlineData("terminate")]
    [InlineData("steps/seat/resolve")]
    public async Task A_saga_that_has_ended_takes_no_request_and_stays_as_it_is(string call)
    {
        await using var api = await ApiHost.StartAsync();
        var ended = await api.Post(ApiHost.Start + "&id=a&wait=30");
        (await api.Post("/api/v1/sagas/a/" + call, """{"outcome":"done","reason":"seen"}""")).ShouldBeProblem(409, "wrong-state", "'a'", "Completed");
        (await api.Get("/api/v1/sagas/a")).Text.ShouldBe(ended.Text);
    }

    [Theory]
    [InlineData("cancel", "{}", "reason-required", "$.reason")]
    [InlineData("retry", """{"reason":"  "}""", "reason-required", "$.reason")]
    [InlineData("pause", """{"reason":7}""", "reason-required", "$.reason")]
    [InlineData("resume", "[]", "bad-body", "$")]
    [InlineData("terminate", "", "reason-required", "$.reason")]
    [InlineData("steps/seat/resolve", """{"outcome":"done"}""", "reason-required", "$.reason")]
    [InlineData("steps/seat/resolve", """{"outcome":"maybe","reason":"seen"}""", "bad-body", "$.outcome")]
    [InlineData("steps/seat/resolve", """{"outcome":"notDone","result":1,"reason":"seen"}""", "bad-body", "$.result")]
    public async Task A_request_without_a_reason_or_an_outcome_is_400(string call, string body, string name, string path)
    {
        await using var api = await ApiHost.StartAsync(ScriptedTransport.Silent);
        await api.Post(ApiHost.Start + "&id=a");
        (await api.Post("/api/v1/sagas/a/" + call, body)).ShouldBeProblem(400, name).At("path").ShouldBe(path);
    }

    [Fact]
    public async Task A_request_without_a_body_lacks_a_reason()
    {
        await using var api = await ApiHost.StartAsync();
        (await api.Send(HttpMethod.Post, "/api/v1/sagas/a/cancel")).ShouldBeProblem(400, "reason-required", "reason");
    }

    [Theory]
    [InlineData("cancel")]
    [InlineData("retry")]
    [InlineData("pause")]
    [InlineData("resume")]
    [InlineData("terminate")]
    [InlineData("steps/seat/resolve")]
    public async Task A_request_for_an_unknown_saga_is_404_and_one_without_JSON_415(string call)
    {
        await using var api = await ApiHost.StartAsync();
        (await api.Post("/api/v1/sagas/nobody/" + call, """{"outcome":"done","reason":"seen"}""")).ShouldBeProblem(404, "unknown-saga", "'nobody'");
        (await api.Post("/api/v1/sagas/nobody/" + call, Why, "text/plain")).ShouldBeProblem(415, "unsupported-media-type");
        (await api.Post("/api/v1/sagas/-/" + call, Why)).ShouldBeProblem(400, "bad-parameter");
    }

    private static async Task<string> AskedAsync(ApiHost api, string happened)
    {
        var entry = (await api.Get("/api/v1/sagas/a/history")).Json.GetProperty("items").EnumerateArray().Single(e => e.GetProperty("event").GetString() == happened);
        return $"{entry.GetProperty("by").GetString()}: {entry.GetProperty("reason").GetString()}";
    }

    [Fact]
    public async Task An_operators_name_that_cannot_be_kept_is_400()
    {
        await using var api = await ApiHost.StartAsync();
        (await api.Post("/api/v1/sagas/a/cancel", Why, headers: ("X-Operator", new string('x', 129)))).ShouldBeProblem(400, "bad-header", "X-Operator");
    }
}
