using Sagas.Runtime;
using Shouldly;
using Xunit;

namespace Sagas.Tests.AspNetCore;

/// <summary>Definitions in JSON that are put over REST.</summary>
public sealed class DefinitionPutTests
{
    private const string Path = "/api/v1/definitions/move";

    private const string Move = """
        { "name": "move", "version": 1, "steps": [
          { "name": "out", "tcc": { "try": "bus:bank/out", "confirm": "bus:bank/out", "cancel": "bus:bank/out" } },
          { "name": "in", "after": ["out"], "step": { "do": "bus:bank/in", "compensate": "bus:bank/in-undo" }, "input": { "of": "$.steps.out.result.id" } } ],
          "result": "$.steps.in.result.id" }
        """;

    [Fact]
    public async Task A_definition_is_put_once_listed_with_the_others_and_started()
    {
        await using var api = await ApiHost.StartAsync();
        (await api.Get(Path)).ShouldBeProblem(404, "unknown-definition");
        var first = await api.Put(Path, Move);
        first.Status.ShouldBe(201, first.Text);
        first.Header("Location").ShouldBe("/api/v1/definitions/move?version=1");
        first.At("source").ShouldBe("rest");
        first.Json.GetProperty("json").GetProperty("result").GetString().ShouldBe("$.steps.in.result.id");
        (await api.Put(Path, Move.Replace("\"version\": 1", "\"version\": 1.0"))).Status.ShouldBe(200);
        var started = await api.Post(Path + "/sagas?wait=30", "{}");
        started.At("status").ShouldBe("Completed");
        started.At("result").ShouldBe("in-1");

        var items = (await api.Get("/api/v1/definitions")).Json.GetProperty("items").EnumerateArray();
        items.Select(d => $"{d.GetProperty("name").GetString()} {d.GetProperty("version").GetInt32()} {d.GetProperty("source").GetString()}")
            .ShouldBe(["book-trip 1 code", "move 1 rest", "reserve 1 code", "reserve 2 code"]);
        (await api.Get(Path)).At("fingerprint").ShouldBe(first.At("fingerprint"));
        (await api.Get(Path + "/graph?format=mermaid")).Text.ShouldContain("    s0 --> s1\n");
        (await api.Get(Path + "/graph?format=dot")).Text.ShouldStartWith("digraph \"move v1\" {\n");
        (await api.Get(Path + "/graph")).Json.GetProperty("steps").GetArrayLength().ShouldBe(2);
        (await api.Get("/swagger/v1/swagger.json")).Json.GetProperty("paths").TryGetProperty(Path + "/sagas", out _).ShouldBeTrue();
    }

    [Fact]
    public async Task Another_graph_under_the_same_version_is_409_and_a_newer_version_is_not()
    {
        await using var api = await ApiHost.StartAsync();
        await api.Put(Path, Move);
        (await api.Put(Path, Move.Replace("in-undo", "undo"))).ShouldBeProblem(409, "version-taken", "Version 1 of 'move'", "put over REST", "as version 2");
        (await api.Get(Path)).Text.ShouldContain("in-undo");
        (await api.Put(Path, Move.Replace("in-undo", "undo").Replace("\"version\": 1", "\"version\": 2"))).Status.ShouldBe(201);
        (await api.Get(Path)).At("versions").ShouldBe("[1,2]");
        (await api.Post(Path + "/sagas", "{}")).At("version").ShouldBe("2");
        (await api.Put("/api/v1/definitions/reserve", """{"name":"reserve","version":2,"steps":[{"name":"a","step":{"do":"bus:p/a"}}]}"""))
            .ShouldBeProblem(409, "version-taken", "written in C#", "as version 3");
        (await api.Store.DefinitionsAsync(default)).Select(d => $"{d.Name} {d.Version}").ShouldBe(["move 1", "move 2"]);
    }

    [Fact]
    public async Task All_faults_come_at_once_each_with_its_path_and_nothing_is_stored()
    {
        await using var api = await ApiHost.StartAsync();
        var refused = (await api.Put(Path, """
            { "name": "move", "version": 1, "timeout": "5m", "colour": "red", "steps": [
              { "name": "a", "after": ["z"], "step": { "do": "ftp://x" }, "tcc": { "try": "bus:p/a" } },
              { "name": "a", "step": { "do": "bus:p/b" }, "input": "$.steps.q.result" } ] }
            """)).ShouldBeProblem(400, "bad-definition", "7 faults", "nothing of it was stored");
        refused.Json.GetProperty("errors").EnumerateArray().Select(e => e.GetProperty("path").GetString()).Order(StringComparer.Ordinal)
            .ShouldBe(["$.colour", "$.steps[0]", "$.steps[0].after[0]", "$.steps[0].step.do", "$.steps[1].input", "$.steps[1].name", "$.timeout"]);
        refused.Json.GetProperty("errors").EnumerateArray().ShouldAllBe(e => e.GetProperty("message").GetString()!.Length > 10);
        (await api.Get(Path)).Status.ShouldBe(404);
        (await api.Store.DefinitionsAsync(default)).ShouldBeEmpty();
    }

    [Fact]
    public async Task A_body_that_is_no_definition_of_that_name_is_refused()
    {
        await using var api = await ApiHost.StartAsync();
        (await api.Put("/api/v1/definitions/other", Move)).ShouldBeProblem(400, "bad-definition", "'move'", "'other'").At("path").ShouldBe("$.name");
        (await api.Put(Path, "[]")).ShouldBeProblem(400, "bad-definition").Json.GetProperty("errors").GetArrayLength().ShouldBe(1);
        (await api.Put(Path, "{\"name\":")).ShouldBeProblem(400, "malformed-json").At("path").ShouldBe("$.name");
        (await api.Put(Path, Move, "text/plain")).ShouldBeProblem(415, "unsupported-media-type");
        (await api.Put(Path, Move.Replace("\"result\":", $"\"headers\":{{\"X-Long\":\"{new string('x', 1 << 20)}\"}},\"result\":"))).ShouldBeProblem(413, "too-large", "1 MiB");
        (await api.Put("/api/v1/definitions", Move)).ShouldBeProblem(405, "method-not-allowed");
    }

    [Theory]
    [InlineData("$.steps[0].when", "\"when\":\"$.input.ok\",\"step\":{\"do\":\"bus:p/a\"}")]
    [InlineData("$.steps[0].wait", "\"wait\":{\"signal\":\"approved\",\"within\":\"PT1H\"}")]
    [InlineData("$.steps[0].delay", "\"delay\":\"PT10S\"")]
    [InlineData("$.steps[0].child", "\"child\":{\"definition\":\"other\",\"input\":{}}")]
    [InlineData("$.steps[0].forEach", "\"forEach\":\"$.input.lines\",\"step\":{\"do\":\"bus:p/a\"}")]
    [InlineData("$.steps[0].limit", "\"limit\":{\"concurrency\":3},\"step\":{\"do\":\"bus:p/a\"}")]
    [InlineData("$.steps[0].tcc.check", "\"tcc\":{\"try\":\"bus:p/a\",\"check\":\"bus:p/b\"}")]
    [InlineData("$.steps[0].step.check", "\"step\":{\"do\":\"bus:p/a\",\"check\":\"bus:p/b\"}")]
    [InlineData("$.locks", null)]
    [InlineData("$.orderBy", null)]
    [InlineData("$.priority", null)]
    public async Task What_is_not_supported_yet_is_refused_by_name(string path, string? step)
    {
        await using var api = await ApiHost.StartAsync();
        var name = path[(path.LastIndexOf('.') + 1)..];
        var body = step is null
            ? $$"""{"name":"move","version":1,"{{name}}":5,"steps":[{"name":"a","step":{"do":"bus:p/a"} }]}"""
            : $$"""{"name":"move","version":1,"steps":[{"name":"a",{{step}}}]}""";
        var refused = (await api.Put(Path, body)).ShouldBeProblem(400, "bad-definition", $"'{name}' is not supported yet");
        refused.Json.GetProperty("errors").EnumerateArray().Select(e => e.GetProperty("path").GetString()).ShouldBe([path]);
    }

    [Fact]
    public async Task The_schema_is_served_and_a_definition_that_was_put_may_call_this_machine_only_also_after_a_restart()
    {
        const string abroad = """{"name":"abroad","version":1,"steps":[{"name":"a","step":{"do":"http://192.0.2.1:9/"},"retry":{"attempts":1}}]}""";
        var store = new BreakableStore();
        await using (var api = await ApiHost.StartAsync(store: store))
        {
            var schema = await api.Get("/api/v1/definitions/schema");
            schema.Header("Content-Type").ShouldBe("application/schema+json");
            schema.Json.GetProperty("$schema").GetString().ShouldBe("https://json-schema.org/draft/2020-12/schema");
            (await api.Put("/api/v1/definitions/abroad", abroad)).Status.ShouldBe(201);
            (await api.Post("/api/v1/definitions/abroad/sagas?wait=30", "{}")).Json.GetProperty("error").GetProperty("code").GetString().ShouldBe("host-not-allowed");
        }
        await using var again = await ApiHost.StartAsync(store: store);
        (await again.Get("/api/v1/definitions/abroad")).At("source").ShouldBe("rest");
        var error = (await again.Post("/api/v1/definitions/abroad/sagas?wait=30", "{}")).Json.GetProperty("error");
        error.GetProperty("code").GetString().ShouldBe("host-not-allowed");
        error.GetProperty("message").GetString()!.ShouldContain("Sagas:Http:RestHosts");
    }

    [Fact]
    public async Task A_saga_goes_on_after_a_restart_with_the_definition_that_was_put()
    {
        var store = new BreakableStore();
        await using (var api = await ApiHost.StartAsync(ScriptedTransport.Silent, store: store))
        {
            await api.Put(Path, Move);
            (await api.Post(Path + "/sagas?id=a", "{}")).Status.ShouldBe(202);
        }
        await using var again = await ApiHost.StartAsync(store: store);
        (await again.Get("/api/v1/sagas/a?wait=30")).At("status").ShouldBe("Completed");
        (await again.Put(Path, Move)).Status.ShouldBe(200);
    }

    [Fact]
    public async Task While_the_store_is_down_nothing_is_put()
    {
        await using var api = await ApiHost.StartAsync();
        api.Store.Fault = new StoreUnavailableException("gone");
        (await api.Put(Path, Move)).ShouldBeProblem(503, "store-unavailable");
        api.Store.Fault = null;
        (await api.Get(Path)).Status.ShouldBe(404);
        (await api.Put(Path, Move)).Status.ShouldBe(201);
    }

    [Fact]
    public async Task What_another_node_put_is_found()
    {
        await using var api = await ApiHost.StartAsync();
        var other = DefinitionJson.Parse(System.Text.Encoding.UTF8.GetBytes(Move));
        await api.Store.SaveDefinitionAsync(new StoredDefinition("move", 1, other.Fingerprint, other.Json!, DefinitionSource.Rest), default);
        (await api.Post(Path + "/sagas?wait=30", "{}")).At("status").ShouldBe("Completed");
        (await api.Put(Path, Move)).Status.ShouldBe(200);
    }
}
