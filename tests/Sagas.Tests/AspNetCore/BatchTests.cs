using System.Text;
using System.Text.Json;
using Sagas.AspNetCore;
using Sagas.Runtime;
using Shouldly;
using Xunit;

namespace Sagas.Tests.AspNetCore;

public sealed class BatchTests
{
    private const string Path = "/api/v1/definitions/reserve/sagas/batch?version=1";

    [Fact]
    public async Task Each_item_has_its_own_outcome_in_order()
    {
        await using var api = await ApiHost.StartAsync(ScriptedTransport.Silent);
        await api.Post(ApiHost.Start + "&id=old");
        var reply = await api.Post(Path + "&tag=day:monday", $$$"""
            [{"id":"new","input":{{{ApiHost.Input}}},"tags":{"team":"red"}},
             {"id":"old","input":{{{ApiHost.Input}}}},
             {"id":"old","input":{"flight":"LH2","day":"2026-01-31"}},
             {"id":"bad","input":{"flight":"LH1"}},
             {"id":"a b","input":{{{ApiHost.Input}}}},
             {"input":{{{ApiHost.Input}}}},
             {"id":"none"},
             {"id":"more","input":{{{ApiHost.Input}}},"tag":"x"},
             7]
            """);
        reply.Status.ShouldBe(202, reply.Text);
        var items = reply.Json.GetProperty("items").EnumerateArray().ToArray();
        items.Select(i => i.GetProperty("status").GetString()).ShouldBe(["accepted", "exists", "refused", "refused", "refused", "accepted", "refused", "refused", "refused"]);
        items.Select(i => i.GetProperty("problem") is { ValueKind: JsonValueKind.Object } p ? p.GetProperty("type").GetString() : null)
            .ShouldBe([null, null, "urn:sagas:id-reused", "urn:sagas:bad-input", "urn:sagas:bad-body", null, "urn:sagas:bad-body", "urn:sagas:bad-body", "urn:sagas:bad-body"]);
        items[4].GetProperty("id").GetString().ShouldBe("a b");
        items[5].GetProperty("id").GetString().ShouldNotBeNullOrEmpty();
        items[7].GetProperty("problem").GetProperty("detail").GetString()!.ShouldContain("'tag'");
        items[8].GetProperty("problem").GetProperty("path").GetString().ShouldBe("$[8]");
        (await api.Get("/api/v1/sagas/new")).At("tags").ShouldBe("""{"day":"monday","team":"red"}""");
    }

    [Fact]
    public async Task NDJSON_has_one_item_a_line_and_a_faulty_line_refuses_only_itself()
    {
        await using var api = await ApiHost.StartAsync(ScriptedTransport.Silent);
        var reply = await api.Post(Path, $$$"""{"id":"a","input":{{{ApiHost.Input}}}}""" + "\r\n\n{oops\n" + $$$"""{"id":"b","input":{{{ApiHost.Input}}}}""", "application/x-ndjson");
        reply.Status.ShouldBe(202, reply.Text);
        var items = reply.Json.GetProperty("items").EnumerateArray().ToArray();
        items.Select(i => i.GetProperty("status").GetString()).ShouldBe(["accepted", "refused", "accepted"]);
        items[1].GetProperty("problem").GetProperty("detail").GetString()!.ShouldContain("line 3");
    }

    [Fact]
    public async Task A_faulty_array_starts_nothing()
    {
        await using var api = await ApiHost.StartAsync(ScriptedTransport.Silent);
        (await api.Post(Path, $$$"""[{"id":"a","input":{{{ApiHost.Input}}}},{"id":]""")).ShouldBeProblem(400, "malformed-json", "$[1].id");
        (await api.Post(Path, """{"id":"a"}""")).ShouldBeProblem(400, "bad-body", "no array");
        (await api.Get("/api/v1/sagas/a")).Status.ShouldBe(404);
    }

    [Fact]
    public async Task An_empty_batch_has_no_outcomes()
    {
        await using var api = await ApiHost.StartAsync();
        var reply = await api.Post(Path, "[]");
        reply.Status.ShouldBe(202);
        reply.Text.ShouldBe("""{"items":[]}""");
    }

    [Fact]
    public async Task An_input_over_256_KiB_refuses_its_item_and_a_batch_over_16_MiB_is_413()
    {
        await using var api = await ApiHost.StartAsync(ScriptedTransport.Silent);
        var large = new string('x', 256 * 1024);
        var reply = await api.Post(Path, $$$"""[{"id":"large","input":"{{{large}}}"},{"id":"small","input":{{{ApiHost.Input}}}}]""");
        reply.Json.GetProperty("items")[0].GetProperty("problem").GetProperty("type").GetString().ShouldBe("urn:sagas:too-large");
        reply.Json.GetProperty("items")[1].GetProperty("status").GetString().ShouldBe("accepted");
        (await api.Post(Path, new byte[(16 * 1024 * 1024) + 1], "application/json")).ShouldBeProblem(413, "too-large", "16 MiB");
    }

    [Fact]
    public async Task Thousands_start_with_one_request()
    {
        await using var api = await ApiHost.StartAsync(ScriptedTransport.Silent);
        var lines = string.Concat(Enumerable.Range(0, 1500).Select(i => $$$"""{"id":"s{{{i}}}","input":{{{ApiHost.Input}}}}""" + "\n"));
        var reply = await api.Post(Path, lines, "application/x-ndjson");
        reply.Json.GetProperty("items").EnumerateArray().Select(i => i.GetProperty("id").GetString()).ShouldBe(Enumerable.Range(0, 1500).Select(i => $"s{i}"));
        (await api.Get("/api/v1/sagas/counts")).Json.GetProperty("byStatus").GetProperty("Running").GetInt32().ShouldBe(1500);
    }

    [Fact]
    public async Task A_full_engine_is_429_when_it_takes_no_item_at_all()
    {
        await using var api = await ApiHost.StartAsync(ScriptedTransport.Silent, o => o.MaxOpenSagas = 1);
        await api.Post(ApiHost.Start);
        (await api.Post(Path, $$$"""[{"input":{{{ApiHost.Input}}}}]""")).ShouldBeProblem(429, "busy").Header("Retry-After").ShouldBe("1");
    }

    [Fact]
    public async Task A_batch_that_is_neither_array_nor_NDJSON_is_415()
    {
        await using var api = await ApiHost.StartAsync();
        (await api.Post(Path, "a,b", "text/csv")).ShouldBeProblem(415, "unsupported-media-type", "text/csv", "application/x-ndjson");
    }

    [Fact]
    public void An_input_in_a_batch_may_be_as_deep_as_one_alone_and_no_deeper()
    {
        var defaults = new StartRequest("any", Payload.Null);
        var deep = new string('[', 64) + new string(']', 64);
        Batches.Read(Encoding.UTF8.GetBytes($$$"""[{"input":{{{deep}}}}]"""), ndjson: false, defaults).Single().Problem.ShouldBeNull();
        Batches.Read(Encoding.UTF8.GetBytes($$$"""{"input":[{{{deep}}}]}"""), ndjson: true, defaults).Single().Problem!.Name.ShouldBe("malformed-json");
    }
}
