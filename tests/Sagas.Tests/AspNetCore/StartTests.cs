using System.Text;
using Sagas.Runtime;
using Shouldly;
using Xunit;

namespace Sagas.Tests.AspNetCore;

public sealed class StartTests
{
    [Fact]
    public async Task A_first_start_is_202_with_the_place_of_the_saga()
    {
        await using var api = await ApiHost.StartAsync(ScriptedTransport.Silent);
        var reply = await api.Post(ApiHost.Start + "&id=trip-1&tag=team:red&tag=note:a:b&priority=9");
        reply.Status.ShouldBe(202, reply.Text);
        reply.Header("Location").ShouldBe("/api/v1/sagas/trip-1");
        reply.Header("X-Content-Type-Options").ShouldBe("nosniff");
        reply.Header("Cache-Control").ShouldBe("no-store");
        reply.At("id").ShouldBe("trip-1");
        reply.At("status").ShouldBe("Running");
        reply.At("priority").ShouldBe("9");
        reply.At("tags").ShouldBe("""{"note":"a:b","team":"red"}""");
        reply.At("input").ShouldBe(ApiHost.Input);
        reply.At("waitingFor").ShouldBe("reply of seats to try of 'seat', attempt 1");
    }

    [Fact]
    public async Task A_repeat_is_200_with_the_same_saga_and_no_second_start()
    {
        await using var api = await ApiHost.StartAsync(ScriptedTransport.Silent);
        var first = await api.Post(ApiHost.Start + "&id=a");
        var repeat = await api.Post(ApiHost.Start + "&id=a", """{ "day": "2026-01-31", "flight": "LH1" }""");
        repeat.Status.ShouldBe(200, repeat.Text);
        repeat.At("startedAt").ShouldBe(first.At("startedAt"));
        (await api.Get("/api/v1/sagas")).Json.GetProperty("items").GetArrayLength().ShouldBe(1);
    }

    [Fact]
    public async Task The_same_id_with_another_input_or_definition_is_422()
    {
        await using var api = await ApiHost.StartAsync(ScriptedTransport.Silent);
        await api.Post(ApiHost.Start + "&id=a");
        (await api.Post(ApiHost.Start + "&id=a", """{"flight":"LH2","day":"2026-01-31"}""")).ShouldBeProblem(422, "id-reused", "'a'");
        (await api.Post("/api/v1/definitions/book-trip/sagas?id=a")).ShouldBeProblem(422, "id-reused", "'a'");
    }

    [Fact]
    public async Task An_idempotency_key_is_the_sagas_id()
    {
        await using var api = await ApiHost.StartAsync(ScriptedTransport.Silent);
        var first = await api.Post(ApiHost.Start, headers: ("Idempotency-Key", "order-7"));
        first.Status.ShouldBe(202);
        first.At("id").ShouldBe("order-7");
        (await api.Post(ApiHost.Start, headers: ("Idempotency-Key", "\"order-7\""))).Status.ShouldBe(200);
        (await api.Post(ApiHost.Start + "&id=order-7", headers: ("Idempotency-Key", "order-7"))).Status.ShouldBe(200);
        (await api.Post(ApiHost.Start + "&id=order-8", headers: ("Idempotency-Key", "order-7"))).ShouldBeProblem(400, "bad-parameter", "order-8", "order-7");
        (await api.Post(ApiHost.Start, headers: ("Idempotency-Key", "a b"))).ShouldBeProblem(400, "bad-header", "a b", "A-Z");
    }

    [Fact]
    public async Task Waiting_answers_200_once_the_saga_ended_repeat_or_not()
    {
        await using var api = await ApiHost.StartAsync();
        var first = await api.Post("/api/v1/definitions/book-trip/sagas?id=a&wait=30");
        first.Status.ShouldBe(200, first.Text);
        first.At("status").ShouldBe("Completed");
        first.At("result").ShouldBe("""{"seat":"seat-1"}""");
        first.At("waitingFor").ShouldBe("null");
        first.At("finishedAt")!.ShouldEndWith("Z");
        first.At("committedAt")!.ShouldEndWith("Z");
        (await api.Post("/api/v1/definitions/book-trip/sagas?id=a&wait=30")).Status.ShouldBe(200);
    }

    [Fact]
    public async Task Waiting_answers_202_until_the_saga_ended_repeat_or_not()
    {
        await using var api = await ApiHost.StartAsync(ScriptedTransport.Silent);
        (await api.Post(ApiHost.Start + "&id=a&wait=0.01")).Status.ShouldBe(202);
        (await api.Post(ApiHost.Start + "&id=a&wait=0")).Status.ShouldBe(202);
        (await api.Get("/api/v1/sagas/a?wait=0.01")).Status.ShouldBe(200);
    }

    [Fact]
    public async Task A_callers_trace_is_gone_on_with()
    {
        await using var api = await ApiHost.StartAsync(ScriptedTransport.Silent);
        var traced = await api.Post(ApiHost.Start, headers: ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
        traced.At("traceId").ShouldBe("0af7651916cd43dd8448eb211c80319c");
        (await api.Post(ApiHost.Start, headers: ("traceparent", "00-nonsense-01"))).Status.ShouldBe(202);
    }

    [Theory]
    [InlineData("id=", "'id'", "A-Z")]
    [InlineData("id=-a", "'-a'", "A-Z")]
    [InlineData("id=a%2Fb", "'a/b'", "A-Z")]
    [InlineData("id=a&id=b", "'id'", "once")]
    [InlineData("version=0", "'0'", "whole number")]
    [InlineData("version=x", "'x'", "whole number")]
    [InlineData("wait=61", "'61'", "0 to 60")]
    [InlineData("wait=-1", "'-1'", "0 to 60")]
    [InlineData("wait=soon", "'soon'", "0 to 60")]
    [InlineData("tag=red", "'red'", "key:value")]
    [InlineData("tag=:red", "':red'", "key:value")]
    [InlineData("tag=a:1&tag=a:2", "'a:2'", "once")]
    [InlineData("priority=10", "'10'", "0 to 9")]
    [InlineData("priority=high", "'high'", "0 to 9")]
    public async Task A_parameter_that_does_not_fit_is_400_and_named(string query, params string[] words)
    {
        await using var api = await ApiHost.StartAsync(ScriptedTransport.Silent);
        (await api.Post("/api/v1/definitions/book-trip/sagas?" + query)).ShouldBeProblem(400, "bad-parameter", words)
            .At("parameter").ShouldBe(query.Split('=')[0]);
        (await api.Get("/api/v1/sagas")).Json.GetProperty("items").GetArrayLength().ShouldBe(0);
    }

    [Fact]
    public async Task An_unknown_definition_or_version_is_404()
    {
        await using var api = await ApiHost.StartAsync();
        (await api.Post("/api/v1/definitions/nowhere/sagas")).ShouldBeProblem(404, "unknown-definition", "'nowhere'", "/api/v1/definitions");
        (await api.Post("/api/v1/definitions/reserve/sagas?version=9")).ShouldBeProblem(404, "unknown-definition", "'reserve' version 9");
    }

    [Theory]
    [InlineData("", "$", "empty")]
    [InlineData("{\"flight\":\"LH1\",\n\"day\":}", "$.day", "line 2")]
    [InlineData("{\"flight\":\"LH1\",\"legs\":[1,{\"to\":x}]}", "$.legs[1].to", "line 1")]
    [InlineData("{\"flight\":\"LH1\"} {}", "$", "line 1")]
    [InlineData("{\"flight\":\"LH1\",}", "$", "line 1")]
    [InlineData("{\"a b\":1e}", "$['a b']", "line 1")]
    [InlineData("{\"flight\":\"\\ud800\"}", "$.flight", "surrogate")]
    public async Task Malformed_JSON_is_400_with_the_path(string body, string path, string word)
    {
        await using var api = await ApiHost.StartAsync();
        (await api.Post(ApiHost.Start, body)).ShouldBeProblem(400, "malformed-json", path, word).At("path").ShouldBe(path);
    }

    [Fact]
    public async Task No_body_at_all_is_400()
    {
        await using var api = await ApiHost.StartAsync();
        (await api.Send(HttpMethod.Post, ApiHost.Start)).ShouldBeProblem(400, "malformed-json", "empty");
    }

    [Fact]
    public async Task JSON_over_64_deep_and_bytes_that_are_not_UTF8_are_400()
    {
        await using var api = await ApiHost.StartAsync();
        (await api.Post(ApiHost.Start, new string('[', 65) + new string(']', 65))).ShouldBeProblem(400, "malformed-json", "64");
        (await api.Post(ApiHost.Start, [(byte)'"', 0xff, (byte)'"'], "application/json")).ShouldBeProblem(400, "malformed-json", "UTF-8");
    }

    [Theory]
    [InlineData("""{"flight":"LH1","day":"tomorrow"}""", "$.day", "date")]
    [InlineData("""{"flight":"LH1","day":null}""", "$.day", "date")]
    [InlineData("""{"flight":"LH1"}""", "$", "'day' must be there")]
    [InlineData("[]", "$", "object with flight, day, seats")]
    public async Task An_input_that_does_not_fit_its_type_is_400_with_the_path(string body, string path, string word)
    {
        await using var api = await ApiHost.StartAsync();
        (await api.Post(ApiHost.Start, body)).ShouldBeProblem(400, "bad-input", path, word, "/api/v1/definitions/reserve").At("path").ShouldBe(path);
    }

    [Theory]
    [InlineData("text/plain")]
    [InlineData("application/x-www-form-urlencoded")]
    [InlineData("application/json; charset=iso-8859-1")]
    [InlineData(null)]
    [InlineData("text/json+x")]
    public async Task A_body_that_does_not_say_it_is_JSON_is_415(string? type)
    {
        await using var api = await ApiHost.StartAsync();
        (await api.Post(ApiHost.Start, Encoding.UTF8.GetBytes(ApiHost.Input), type)).ShouldBeProblem(415, "unsupported-media-type", "application/json");
    }

    [Theory]
    [InlineData("application/json; charset=UTF-8")]
    [InlineData("application/vnd.trip+json")]
    public async Task Other_ways_to_say_JSON_are_taken(string type)
    {
        await using var api = await ApiHost.StartAsync();
        (await api.Post(ApiHost.Start, ApiHost.Input, type)).Status.ShouldBe(202);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_body_over_256_KiB_is_413(bool chunked)
    {
        await using var api = await ApiHost.StartAsync();
        var input = new byte[(256 * 1024) + 1];
        input.AsSpan().Fill((byte)'1');
        HttpContent content = chunked ? new StreamContent(new Unseekable(input)) : new ByteArrayContent(input);
        content.Headers.ContentType = new("application/json");
        (await api.Send(HttpMethod.Post, ApiHost.Start, content)).ShouldBeProblem(413, "too-large", "256 KiB");
    }

    [Fact]
    public async Task A_full_engine_is_429_and_says_when_to_repeat()
    {
        await using var api = await ApiHost.StartAsync(ScriptedTransport.Silent, o => o.MaxOpenSagas = 1);
        (await api.Post(ApiHost.Start)).Status.ShouldBe(202);
        (await api.Post(ApiHost.Start)).ShouldBeProblem(429, "busy").Header("Retry-After").ShouldBe("1");
    }

    [Fact]
    public async Task A_store_that_does_not_answer_is_503_and_says_when_to_repeat()
    {
        await using var api = await ApiHost.StartAsync(ScriptedTransport.Silent);
        api.Store.Fault = new StoreUnavailableException("the disk is gone");
        (await api.Get("/api/v1/sagas/a")).ShouldBeProblem(503, "store-unavailable", "Repeat").Header("Retry-After").ShouldBe("5");
        (await api.Post(ApiHost.Start + "&id=a")).ShouldBeProblem(503, "store-unavailable", "Repeat").Header("Retry-After").ShouldBe("5");
    }

    private sealed class Unseekable(byte[] bytes) : MemoryStream(bytes)
    {
        public override bool CanSeek => false;
    }
}
