using System.Globalization;
using System.Text.Json;
using Sagas.AspNetCore;
using Shouldly;
using Xunit;

namespace Sagas.Tests.AspNetCore;

/// <summary>The explorer's verdict over REST.</summary>
public sealed class VerifyTests
{
    private const string Small = """{"crashes":0,"duplicates":0,"drops":0}""";

    [Fact]
    public async Task A_definition_that_holds_says_so_with_its_states_and_bounds()
    {
        await using var api = await ApiHost.StartAsync();
        var verdict = await api.Post("/api/v1/definitions/reserve/verify?version=1", Small);
        verdict.Status.ShouldBe(200, verdict.Text);
        (verdict.At("verdict"), verdict.At("promise"), verdict.At("counterexample")).ShouldBe(("holds", "null", "[]"));
        verdict.Json.GetProperty("states").GetInt64().ShouldBeGreaterThan(50);
        verdict.At("bounds").ShouldBe("2 attempts, 0 crashes, 0 duplicates, 0 drops, 0 takeovers, cancels, no errors");
        verdict.Json.GetProperty("runs").EnumerateArray().Select(run => run.GetProperty("verdict").GetString()).ShouldBe(["holds", "holds", "holds"]);
        verdict.Json.GetProperty("seconds").GetDouble().ShouldBeGreaterThan(0);
    }

    [Fact]
    public async Task Without_a_body_the_newest_version_is_explored_within_the_default_bounds()
    {
        await using var api = await ApiHost.StartAsync();
        var verdict = await api.Send(HttpMethod.Post, "/api/v1/definitions/reserve/verify");
        (verdict.At("verdict"), verdict.At("bounds")).ShouldBe(("holds", "2 attempts, 1 crashes, 1 duplicates, 1 drops, 0 takeovers, cancels, no errors"), verdict.Text);
        (await api.Get("/swagger/v1/swagger.json")).Json.GetProperty("paths").GetProperty("/api/v1/definitions/{name}/verify").GetProperty("post").GetProperty("requestBody")
            .GetProperty("required").GetBoolean().ShouldBeFalse();
    }

    [Fact]
    public async Task What_takes_too_many_states_or_too_long_ends_without_a_verdict()
    {
        await using var api = await ApiHost.StartAsync(options: o => o.Verify.MaxStates = 1000);
        var verdict = await api.Post("/api/v1/definitions/book-trip/verify", "{}");
        verdict.At("verdict").ShouldBe("bounded");
        verdict.Json.GetProperty("runs").EnumerateArray().Max(run => run.GetProperty("states").GetInt64()).ShouldBeLessThan(100_000);
        // The next run would meet the same limit.
        verdict.Json.GetProperty("runs").EnumerateArray().Select(run => run.GetProperty("verdict").GetString()).Last().ShouldBe("bounded");
        (verdict.Json.GetProperty("runs").GetArrayLength() + verdict.Json.GetProperty("notRun").GetArrayLength()).ShouldBe(3);
        verdict.Json.GetProperty("notRun").EnumerateArray().Select(bounds => bounds.GetString()).ShouldContain("2 attempts, 1 crashes, 0 duplicates, 0 drops, 0 takeovers, cancels, errors");
        await using var hasty = await ApiHost.StartAsync(options: o => o.Verify.TimeLimit = TimeSpan.FromTicks(1));
        (await hasty.Post("/api/v1/definitions/book-trip/verify", "{}")).At("verdict").ShouldBe("bounded");
    }

    [Fact]
    public async Task A_node_explores_one_definition_at_a_time_and_ends_when_nobody_waits()
    {
        await using var api = await ApiHost.StartAsync(options: o => o.Verify.TimeLimit = TimeSpan.FromMinutes(10));
        using var gone = new CancellationTokenSource();
        var first = api.Engine.VerifyAsync(api.Engine.FindDefinition("book-trip")!, new ExplorerBounds { Attempts = 3, Drops = 7, Duplicates = 7, Crashes = 7, Errors = true }, gone.Token);
        var second = await api.Post("/api/v1/definitions/reserve/verify", Small);
        (second.Status, second.At("type")).ShouldBe((429, "urn:sagas:busy"));
        // When it will certainly be over, not in a second.
        int.Parse(second.Header("Retry-After")!, CultureInfo.InvariantCulture).ShouldBeInRange(500, 600);
        second.At("detail")!.ShouldContain($"for {second.Header("Retry-After")} s more at most");
        await gone.CancelAsync();
        (await first)!.Verdict.ShouldBe(ExplorerVerdict.Bounded);
        (await api.Post("/api/v1/definitions/reserve/verify", Small)).Status.ShouldBe(200);
    }

    [Fact]
    public async Task A_client_that_goes_away_ends_its_verification()
    {
        await using var api = await ApiHost.StartAsync(options: o => (o.Verify.TimeLimit, o.Verify.MaxStates) = (TimeSpan.FromMinutes(10), 100_000_000));
        using var patience = new CancellationTokenSource();
        using var client = new HttpClient { BaseAddress = api.Address };
        using var body = new StringContent("""{"attempts":3,"drops":7,"duplicates":7,"crashes":7,"errors":true}""", System.Text.Encoding.UTF8, "application/json");
        var asked = client.PostAsync(new Uri("/api/v1/definitions/book-trip/verify", UriKind.Relative), body, patience.Token);
        while (api.Engine.VerificationLeft == TimeSpan.Zero) await Task.Yield();
        await patience.CancelAsync();
        await Should.ThrowAsync<OperationCanceledException>(asked);
        while (api.Engine.VerificationLeft > TimeSpan.Zero) await Task.Yield();
        (await api.Post("/api/v1/definitions/reserve/verify", Small)).Status.ShouldBe(200);
    }

    /// <summary>No definition in JSON breaks a promise of the engine's unless the engine does, and REST knows no promises of users' own: so the answer is written here for one that is broken in C#.</summary>
    [Fact]
    public void What_is_violated_is_told_with_the_promise_and_the_story()
    {
        var found = Explorer.Verify(SagaDefinition.Of(new Heart.Pair(), []), invariants: [new EffectInvariant("The seat is never given back.", effect => effect("seat") != StepEffect.Undone)]);
        using var bytes = new MemoryStream();
        using (var json = new Utf8JsonWriter(bytes)) Verify.Write(json, found, new ExplorerBounds(), 1.5);
        using var answer = JsonDocument.Parse(bytes.ToArray());
        (answer.RootElement.GetProperty("verdict").GetString(), answer.RootElement.GetProperty("promise").GetString()).ShouldBe(("violated", "The seat is never given back."));
        answer.RootElement.GetProperty("runs").EnumerateArray().Single().GetProperty("verdict").GetString().ShouldBe("violated");
        answer.RootElement.GetProperty("notRun").GetArrayLength().ShouldBe(2);
        var story = answer.RootElement.GetProperty("counterexample").EnumerateArray().ToArray();
        (story[0].GetProperty("text").GetString(), story[0].GetProperty("to").GetString()).ShouldBe(("start → try seat, try room", "engine"));
        story[^1].GetProperty("text").GetString().ShouldBe("# ! The seat is never given back.");
    }

    [Theory]
    [InlineData("""{"crashes":8}""", "$.crashes", "Give a whole number from 0 to 7.")]
    [InlineData("""{"attempts":"many"}""", "$.attempts", "Give a whole number from 1 to 5.")]
    [InlineData("""{"cancel":1}""", "$.cancel", "Give true or false.")]
    [InlineData("""{"luck":1}""", "$.luck", "It has only attempts, crashes,")]
    public async Task A_bad_bound_is_told_with_what_is_expected(string body, string path, string says)
    {
        await using var api = await ApiHost.StartAsync();
        var refused = await api.Post("/api/v1/definitions/reserve/verify", body);
        (refused.Status, refused.At("path")).ShouldBe((400, path));
        refused.At("detail")!.ShouldContain(says);
    }

    [Fact]
    public async Task An_unknown_definition_is_404()
    {
        await using var api = await ApiHost.StartAsync();
        (await api.Post("/api/v1/definitions/nothing/verify", "{}")).Status.ShouldBe(404);
    }
}
