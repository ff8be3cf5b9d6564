using Shouldly;
using Xunit;

namespace Sagas.Tests.AspNetCore;

public sealed class CallbackTests
{
    private const string Url = "/api/v1/sagas/a/steps/seat/callback?phase=try&attempt=1";

    [Fact]
    public async Task A_callback_is_the_outcome_and_a_repeated_or_late_one_is_200_and_changes_nothing()
    {
        await using var api = await ApiHost.StartAsync(item => item.Phase == Phase.Try ? null : ScriptedTransport.Ok(item));
        await api.Post(ApiHost.Start + "&id=a");
        (await api.Post(Url, """{"outcome":"ok","result":{"id":"12A"}}""")).Status.ShouldBe(200);
        var end = await api.Get("/api/v1/sagas/a?wait=30");
        end.At("status").ShouldBe("Completed");
        end.Json.GetProperty("result").GetProperty("seat").GetString().ShouldBe("12A");
        (await api.Post(Url, """{"outcome":"ok","result":{"id":"13B"}}""")).Status.ShouldBe(200);
        (await api.Post(Url, """{"outcome":"refused"}""")).Status.ShouldBe(200);
        (await api.Get("/api/v1/sagas/a")).Text.ShouldBe(end.Text);
    }

    [Fact]
    public async Task A_refusal_by_callback_turns_the_saga_back()
    {
        await using var api = await ApiHost.StartAsync(ScriptedTransport.Silent);
        await api.Post(ApiHost.Start + "&id=a");
        (await api.Post(Url, """{"outcome":"refused","code":"sold-out","message":"Sold out."}""")).At("status").ShouldBe("Compensated");
    }

    [Fact]
    public async Task What_is_malformed_is_400_and_what_is_unknown_404()
    {
        await using var api = await ApiHost.StartAsync(ScriptedTransport.Silent);
        await api.Post(ApiHost.Start + "&id=a");
        (await api.Post(Url, "{}")).ShouldBeProblem(400, "bad-body", "outcome");
        (await api.Post(Url, """{"outcome":"busy"}""")).ShouldBeProblem(400, "bad-body");
        (await api.Post(Url, """{"outcome":"ok","code":1}""")).ShouldBeProblem(400, "bad-body", "code");
        (await api.Post(Url, "[]")).ShouldBeProblem(400, "bad-body");
        (await api.Post(Url, "{")).ShouldBeProblem(400, "malformed-json");
        (await api.Post("/api/v1/sagas/a/steps/seat/callback?phase=no&attempt=1", """{"outcome":"ok"}""")).ShouldBeProblem(400, "bad-parameter", "phase");
        (await api.Post("/api/v1/sagas/a/steps/seat/callback?phase=try", """{"outcome":"ok"}""")).ShouldBeProblem(400, "bad-parameter", "attempt");
        (await api.Post("/api/v1/sagas/b/steps/seat/callback?phase=try&attempt=1", """{"outcome":"ok"}""")).ShouldBeProblem(404, "unknown-saga");
        (await api.Post("/api/v1/sagas/a/steps/no/callback?phase=try&attempt=1", """{"outcome":"ok"}""")).ShouldBeProblem(404, "unknown-step");
    }
}
