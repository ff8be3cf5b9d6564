using Sagas.Runtime;
using Shouldly;
using Xunit;

namespace Sagas.Tests.AspNetCore;

/// <summary>Sagas that bring their definition.</summary>
public sealed class InlineTests : IDisposable
{
    private const string Calls = "/api/v1/sagas";
    private readonly string _folder = Directory.CreateTempSubdirectory("sagas-inline-").FullName;

    [Fact]
    public async Task A_saga_with_a_definition_of_its_own_is_started_at_once_and_listed_nowhere()
    {
        await using var api = await ApiHost.StartAsync();
        var started = await api.Post(Calls + "?wait=30&priority=7&tag=shop:1", Body(One("reserve", "out"), "\"id\":\"a\",\"input\":{\"n\":1},\"tags\":{\"city\":\"Paris\"}"));
        started.Status.ShouldBe(200, started.Text);
        started.Header("Location").ShouldBe("/api/v1/sagas/a");
        started.At("status").ShouldBe("Completed");
        started.At("definition").ShouldBe("reserve");
        started.At("version").ShouldBe("1");
        started.At("tags").ShouldBe("""{"city":"Paris","shop":"1"}""");
        started.At("priority").ShouldBe("7");
        started.Json.GetProperty("steps")[0].GetProperty("name").GetString().ShouldBe("out");
        (await api.Get("/api/v1/definitions/reserve?version=1")).At("source").ShouldBe("code");
        (await api.Get("/api/v1/definitions")).Json.GetProperty("items").GetArrayLength().ShouldBe(3);
        (await api.Store.DefinitionsAsync(default)).ShouldBeEmpty();
        var own = await api.Get(Calls + "/a/definition");
        own.At("source").ShouldBe("inline");
        own.Json.GetProperty("steps")[0].GetProperty("do").GetString().ShouldBe("bus:bank/out");
        (await api.Post("/api/v1/definitions/reserve/sagas?version=1&id=b&wait=30")).Json.GetProperty("steps")[0].GetProperty("name").GetString().ShouldBe("seat");
        (await api.Get(Calls + "/b/definition")).At("source").ShouldBe("code");
    }

    [Fact]
    public async Task Two_graphs_of_one_name_and_version_run_beside_each_other_and_each_is_found_by_its_own_steps()
    {
        await using var api = await ApiHost.StartAsync(ScriptedTransport.Silent);
        (await api.Post(Calls, Body(One("reserve", "out"), "\"id\":\"a\""))).Status.ShouldBe(202);
        (await api.Post(Calls, Body(One("reserve", "in"), "\"id\":\"b\""))).Status.ShouldBe(202);
        await api.Post(ApiHost.Start + "&id=c");
        (await Ids("definition=reserve")).ShouldBe("a b c");
        (await Ids("step=out")).ShouldBe("a");
        (await Ids("step=in")).ShouldBe("b");
        (await Ids("step=seat")).ShouldBe("c");

        async Task<string> Ids(string query) =>
            string.Join(' ', (await api.Get($"{Calls}?{query}")).Json.GetProperty("items").EnumerateArray().Select(saga => saga.GetProperty("id").GetString()).Order());
    }

    [Fact]
    public async Task The_same_id_again_is_the_same_saga_and_with_another_definition_422()
    {
        await using var api = await ApiHost.StartAsync();
        var body = Body(One("move", "out"), "\"input\":{\"n\":30}");
        (await api.Post(Calls + "?id=a", body)).Status.ShouldBe(202);
        (await api.Get(Calls + "/a?wait=30")).At("status").ShouldBe("Completed");
        (await api.Post(Calls, body.Replace("30", "30.0").Replace("\"version\":1", "\"version\": 1"), headers: ("Idempotency-Key", "a"))).Status.ShouldBe(200);
        (await api.Post(Calls + "?id=a", Body(One("move", "in"), "\"input\":{\"n\":30}"))).ShouldBeProblem(422, "id-reused", "another definition of its own");
        (await api.Post(Calls + "?id=a", body.Replace("30", "31"))).ShouldBeProblem(422, "id-reused", "another input");
        (await api.Post(ApiHost.Start + "&id=a")).ShouldBeProblem(422, "id-reused", "a definition of its own");
        await api.Post(ApiHost.Start + "&id=b&wait=30");
        (await api.Post(Calls + "?id=b", body)).ShouldBeProblem(422, "id-reused", "a definition that is loaded");
    }

    [Fact]
    public async Task It_goes_on_after_a_restart_on_the_same_journal_and_is_gone_with_its_saga()
    {
        var time = new Runtime.StoppedClock(DateTimeOffset.UtcNow);
        JournalStore Journal() => new(new JournalStoreOptions { Path = _folder, SegmentBytes = 4 << 20, ReserveBytes = 0 }, TimeSpan.FromDays(7), time);
        var store = Journal();
        await using (var api = await ApiHost.StartAsync(ScriptedTransport.Silent, store: store))
            (await api.Post(Calls, Body(One("move", "out"), "\"id\":\"a\""))).Status.ShouldBe(202);
        await store.DisposeAsync();

        store = Journal();
        await using (var api = await ApiHost.StartAsync(store: store))
        {
            (await api.Get(Calls + "/a?wait=30")).At("status").ShouldBe("Completed");
            (await api.Get(Calls + "/a/definition")).At("source").ShouldBe("inline");
            (await api.Get("/api/v1/definitions/move")).Status.ShouldBe(404);
            time.Now += TimeSpan.FromDays(8);
            await store.KeepHouseAsync();
            (await api.Get(Calls + "/a/definition")).ShouldBeProblem(404, "unknown-saga");
        }
        await store.DisposeAsync();
    }

    [Fact]
    public async Task It_may_call_this_machine_only()
    {
        await using var api = await ApiHost.StartAsync();
        var refused = await api.Post(Calls + "?wait=30", Body("""{"name":"abroad","version":1,"steps":[{"name":"a","step":{"do":"http://192.0.2.1:9/"},"retry":{"attempts":1}}]}"""));
        refused.Json.GetProperty("error").GetProperty("code").GetString().ShouldBe("host-not-allowed");
    }

    [Fact]
    public async Task What_does_not_fit_is_refused_with_its_path_and_nothing_is_started()
    {
        await using var api = await ApiHost.StartAsync();
        (await api.Post(Calls, "{}")).ShouldBeProblem(400, "bad-body", "no definition").At("path").ShouldBe("$.definition");
        (await api.Post(Calls, "[]")).ShouldBeProblem(400, "bad-body");
        (await api.Post(Calls, Body(One("move", "out"), "\"colour\":1"))).ShouldBeProblem(400, "bad-body", "'colour'").At("path").ShouldBe("$.colour");
        (await api.Post(Calls, Body(One("move", "out"), "\"id\":\"-\""))).ShouldBeProblem(400, "bad-body").At("path").ShouldBe("$.id");
        (await api.Post(Calls + "?id=b", Body(One("move", "out"), "\"id\":\"a\""))).ShouldBeProblem(400, "bad-body", "'a'", "'b'").At("path").ShouldBe("$.id");
        (await api.Post(Calls, Body(One("move", "out"), "\"tags\":{\"a\":1}"))).ShouldBeProblem(400, "bad-body").At("path").ShouldBe("$.tags");
        var faults = (await api.Post(Calls, Body("""{"name":"move","version":0,"steps":[{"name":"a","delay":"PT1S"}]}"""))).ShouldBeProblem(400, "bad-definition", "2 faults");
        faults.Json.GetProperty("errors").EnumerateArray().Select(e => e.GetProperty("path").GetString()).ShouldBe(["$.definition.version", "$.definition.steps[0].delay"], ignoreOrder: true);
        var large = new string('x', 300 << 10);
        (await api.Post(Calls, Body(One("move", "out"), $"\"input\":\"{large}\""))).ShouldBeProblem(413, "too-large", "256 KiB");
        (await api.Post(Calls, Body(One("move", "out"), $"\"input\":\"{large}{large}{large}{large}\""))).ShouldBeProblem(413, "too-large", "1 MiB");
        (await api.Post(Calls, Body(One("move", "out")), "text/plain")).ShouldBeProblem(415, "unsupported-media-type");
        (await api.Get(Calls + "/counts")).Json.GetProperty("byStatus").EnumerateObject().Sum(status => status.Value.GetInt32()).ShouldBe(0);
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private static string One(string name, string step) => $$"""{"name":"{{name}}","version":1,"steps":[{"name":"{{step}}","step":{"do":"bus:bank/{{step}}"} }]}""";

    private static string Body(string definition, string more = "") => $$"""{"definition":{{definition}}{{(more.Length > 0 ? "," : "")}}{{more}} }""";
}
