using Sagas.Runtime;
using Shouldly;
using Xunit;

namespace Sagas.Tests.AspNetCore;

/// <summary>Who did what, and why.</summary>
public sealed class AuditTests
{
    private const string Transfer = """{"name":"transfer","version":1,"steps":[{"name":"out","step":{"do":"bus:bank/out"},"pivot":true}]}""";

    [Fact]
    public async Task What_operators_did_is_found_in_one_place_whatever_it_was_done_to()
    {
        await using var api = await ApiHost.StartAsync(ScriptedTransport.Silent);
        await api.Post($"{ApiHost.Start}&id=a", ApiHost.Input);
        (await api.Get("/api/v1/audit")).Text.ShouldBe("""{"items":[],"next":null}""");
        (await api.Post("/api/v1/sagas/a/pause", """{"reason":"the hotel is closed"}""", headers: ("X-Operator", "ann"))).Status.ShouldBe(202);
        // What was refused was not done.
        (await api.Post("/api/v1/sagas/a/pause", """{"reason":"again"}""", headers: ("X-Operator", "ann"))).Status.ShouldBe(409);
        (await api.Put("/api/v1/definitions/transfer?reason=moved%20here", Transfer, headers: ("X-Operator", "bob"))).Status.ShouldBe(201);
        (await api.Put("/api/v1/definitions/transfer?reason=twice", Transfer)).Status.ShouldBe(200);
        var operation = await api.Post("/api/v1/operations", """{"action":"terminate","filter":{"status":"Completed"},"reason":"tidy up"}""");

        var page = await api.Get("/api/v1/audit?limit=2");
        Lines(page).ShouldBe([$"anonymous: terminate operation {operation.At("id")} (0 sagas), tidy up", "bob: put definition transfer (v1), moved here"]);
        var rest = await api.Get($"/api/v1/audit?limit=2&cursor={page.At("next")}");
        Lines(rest).ShouldBe(["ann: pause saga a (), the hotel is closed"]);
        rest.At("next").ShouldBe("null");
        (await api.Get("/api/v1/audit?cursor=x")).ShouldBeProblem(400, "bad-parameter", "cursor");
        (await api.Put($"/api/v1/definitions/transfer?reason={new string('x', 1001)}", Transfer)).ShouldBeProblem(400, "bad-parameter", "1000");
    }

    [Fact]
    public async Task What_was_done_is_done_though_the_store_could_not_keep_who_did_it()
    {
        var store = new BreakableStore { AuditFault = new StoreUnavailableException("The disk is full.") };
        await using var api = await ApiHost.StartAsync(ScriptedTransport.Silent, store: store);
        await api.Post($"{ApiHost.Start}&id=a", ApiHost.Input);
        (await api.Post("/api/v1/sagas/a/pause", """{"reason":"hold"}""")).Status.ShouldBe(202);
        (await api.Get("/api/v1/sagas/a")).At("paused").ShouldBe("true");
    }

    private static string[] Lines(Reply page) => [.. page.Json.GetProperty("items").EnumerateArray().Select(entry =>
        $"{entry.GetProperty("by")}: {entry.GetProperty("action")} {entry.GetProperty("kind")} {entry.GetProperty("target")} ({entry.GetProperty("detail")}), {entry.GetProperty("reason")}")];
}
