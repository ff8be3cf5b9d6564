using System.Text.RegularExpressions;
using Microsoft.AspNetCore.Builder;
using Sagas.AspNetCore;
using Shouldly;
using Xunit;

namespace Sagas.Tests.AspNetCore;

/// <summary>Definitions, the document, and what holds for every call.</summary>
public sealed partial class SurfaceTests
{
    [Fact]
    public async Task Definitions_show_graph_schemas_and_policies()
    {
        await using var api = await ApiHost.StartAsync();
        var list = (await api.Get("/api/v1/definitions")).Json.GetProperty("items").EnumerateArray().ToArray();
        list.Select(d => $"{d.GetProperty("name").GetString()} {d.GetProperty("version").GetInt32()}").ShouldBe(["book-trip 1", "reserve 1", "reserve 2"]);
        var trip = (await api.Get("/api/v1/definitions/book-trip")).Json;
        trip.GetProperty("pivot").GetString().ShouldBe("pay");
        trip.GetProperty("timeout").GetString().ShouldBe("PT5M");
        trip.GetProperty("inputSchema").GetProperty("properties").GetProperty("day").GetProperty("format").GetString().ShouldBe("date");
        trip.GetProperty("resultSchema").GetProperty("properties").TryGetProperty("seat", out _).ShouldBeTrue();
        var seat = trip.GetProperty("steps")[0];
        seat.GetProperty("participant").GetString().ShouldBe("seats");
        seat.GetProperty("timeout").GetString().ShouldBe("PT30S");
        seat.GetProperty("retry").GetProperty("attempts").GetInt32().ShouldBe(5);
        (await api.Get("/api/v1/definitions/reserve")).At("version").ShouldBe("2");
        (await api.Get("/api/v1/definitions/reserve?version=1")).At("versions").ShouldBe("[1,2]");
        (await api.Get("/api/v1/definitions/nowhere")).ShouldBeProblem(404, "unknown-definition", "'nowhere'");
        (await api.Get("/api/v1/definitions/reserve?version=x")).ShouldBeProblem(400, "bad-parameter", "'x'");
    }

    [Fact]
    public async Task A_graph_comes_as_JSON_Mermaid_or_DOT()
    {
        await using var api = await ApiHost.StartAsync();
        (await api.Get("/api/v1/definitions/book-trip/graph")).Json.GetProperty("steps").GetArrayLength().ShouldBe(4);
        (await api.Get("/api/v1/definitions/book-trip/graph?format=mermaid")).Text.ShouldStartWith("flowchart TD\n");
        (await api.Get("/api/v1/definitions/book-trip/graph?format=dot")).Text.ShouldStartWith("digraph \"book-trip v1\" {\n");
        (await api.Get("/api/v1/definitions/book-trip/graph?format=svg")).ShouldBeProblem(400, "bad-parameter", "'svg'", "mermaid");
        (await api.Get("/api/v1/definitions/nowhere/graph")).ShouldBeProblem(404, "unknown-definition");
    }

    [Fact]
    public void Mermaid_puts_the_commit_point_after_the_pivot()
    {
        var text = GraphText.Mermaid(SagaDefinition.Of(new BookTrip(), []));
        text.ShouldContain("    s2{{\"pay<br/>money: capture<br/>pivot: no way back after it\"}}\n");
        text.ShouldContain("    s0 --> s2\n    s1 --> s2\n    s2 --> commit\n    commit --> s3\n    s3 --> done\n");
    }

    [Fact]
    public void Without_a_pivot_the_commit_point_comes_after_every_step()
    {
        GraphText.Mermaid(SagaDefinition.Of(new Reserve(), [])).ShouldContain("    start --> s0\n    s0 --> commit\n    commit --> done\n");
        GraphText.Dot(SagaDefinition.Of(new Reserve(), [])).ShouldContain("    start -> s0;\n    s0 -> commit;\n    commit -> done;\n}\n");
    }

    [Fact]
    public async Task What_is_not_there_is_a_problem_too()
    {
        await using var api = await ApiHost.StartAsync();
        (await api.Get("/api/v1/nowhere")).ShouldBeProblem(404, "unknown-route", "/api/v1/nowhere");
        (await api.Get("/api/v1/feeds")).ShouldBeProblem(404, "unknown-route");
        (await api.Get("/api/v1/sagas/a/b/c/d")).ShouldBeProblem(404, "unknown-route");
        (await api.Send(HttpMethod.Delete, "/api/v1/sagas/a")).ShouldBeProblem(405, "method-not-allowed", "DELETE").Header("Allow").ShouldBe("GET, HEAD");
        (await api.Get("/api/v1/definitions/reserve/sagas")).ShouldBeProblem(405, "method-not-allowed").Header("Allow").ShouldBe("POST");
        (await api.Send(HttpMethod.Put, "/api/v1/sagas/counts")).ShouldBeProblem(405, "method-not-allowed");
    }

    [Fact]
    public async Task A_fault_of_our_own_is_500_and_shows_nothing_of_the_inside()
    {
        await using var api = await ApiHost.StartAsync();
        api.Store.Fault = new InvalidOperationException("secret");
        var reply = (await api.Get("/api/v1/sagas/a")).ShouldBeProblem(500, "internal-error");
        reply.Text.ShouldNotContain("secret");
        reply.At("traceId").ShouldNotBeNullOrEmpty();
    }

    [Fact]
    public async Task Under_a_prefix_and_a_path_base_links_lead_right()
    {
        await using var api = await ApiHost.StartAsync(map: app =>
        {
            app.UsePathBase("/base");
            app.UseRouting();
            app.MapGroup("/sub").MapSagas();
        });
        (await api.Post("/base/sub" + ApiHost.Start + "&id=a")).Header("Location").ShouldBe("/base/sub/api/v1/sagas/a");
        (await api.Get("/base/sub/api/v1/sagas/a")).Status.ShouldBe(200);
        (await api.Get("/base/sub/api/v1/x")).ShouldBeProblem(404, "unknown-route");
        (await api.Get("/base/sub/swagger")).Header("Location").ShouldBe("/base/sub/swagger/index.html");
        (await api.Get("/base/sub/swagger/v1/swagger.json")).Json.GetProperty("servers")[0].GetProperty("url").GetString().ShouldBe("/base/sub");
    }

    [Fact]
    public async Task The_page_and_its_files_come_from_this_host()
    {
        await using var api = await ApiHost.StartAsync();
        (await api.Get("/swagger")).Header("Location").ShouldBe("/swagger/index.html");
        var page = await api.Get("/swagger/index.html");
        page.Status.ShouldBe(200);
        page.Text.ShouldNotContain("http");
        page.Header("Content-Security-Policy")!.ShouldContain("default-src 'self'");
        foreach (Match link in LinkPattern().Matches(page.Text))
        {
            var file = await api.Get("/swagger/" + link.Groups[1].Value);
            file.Status.ShouldBe(200, link.Value);
            file.Text.Length.ShouldBeGreaterThan(0);
        }
        (await api.Get("/swagger/swagger-ui-bundle.js")).Text.ShouldContain("SwaggerUIBundle");
        (await api.Send(HttpMethod.Get, "/swagger/swagger-ui-bundle.js", null, ("Accept-Encoding", "gzip"))).Header("Content-Encoding").ShouldBe("gzip");
    }

    [Fact]
    public async Task The_document_has_every_call_and_a_start_for_each_definition()
    {
        await using var api = await ApiHost.StartAsync();
        var document = (await api.Get("/swagger/v1/swagger.json")).Json;
        var paths = document.GetProperty("paths");
        foreach (var call in Calls.All) paths.GetProperty(call.Path).TryGetProperty(call.Method.ToLowerInvariant(), out _).ShouldBeTrue(call.Path);
        var start = paths.GetProperty("/api/v1/definitions/book-trip/sagas").GetProperty("post").GetProperty("requestBody").GetProperty("content").GetProperty("application/json");
        start.GetProperty("schema").GetProperty("$ref").GetString().ShouldBe("#/components/schemas/book-trip.input");
        start.GetProperty("example").GetRawText().ShouldBe("""{"flight":"text","day":"2026-01-31","seats":1}""");
        document.GetProperty("components").GetProperty("schemas").GetProperty("book-trip.input").GetProperty("properties").TryGetProperty("flight", out _).ShouldBeTrue();
    }

    [Fact]
    public async Task The_documents_references_all_lead_somewhere()
    {
        await using var api = await ApiHost.StartAsync();
        var document = (await api.Get("/swagger/v1/swagger.json")).Json;
        var schemas = document.GetProperty("components").GetProperty("schemas");
        foreach (Match reference in ReferencePattern().Matches(document.GetRawText()))
            schemas.TryGetProperty(reference.Groups[1].Value, out _).ShouldBeTrue(reference.Value);
    }

    [Fact]
    public async Task The_documents_example_starts_a_saga()
    {
        await using var api = await ApiHost.StartAsync(ScriptedTransport.Silent);
        var example = (await api.Get("/swagger/v1/swagger.json")).Json.GetProperty("paths").GetProperty("/api/v1/definitions/book-trip/sagas").GetProperty("post")
            .GetProperty("requestBody").GetProperty("content").GetProperty("application/json").GetProperty("example").GetRawText();
        (await api.Post("/api/v1/definitions/book-trip/sagas", example)).Status.ShouldBe(202);
    }

    [Fact]
    public void A_recursive_input_refers_to_itself_at_its_place()
    {
        var schema = Schemas.Of(typeof(Node))!;
        schema.ToJsonString().ShouldContain("$ref");
        OpenApi.ExampleOf(schema)!.ToJsonString().ShouldContain("\"name\":\"text\"");
    }

    [Fact]
    public void A_host_without_an_engine_is_told_what_to_call()
    {
        var app = WebApplication.CreateBuilder().Build();
        Should.Throw<InvalidOperationException>(() => app.MapSagas()).Message.ShouldContain("AddSagas");
    }

    private sealed record Node(string Name, Node? Next);

    [GeneratedRegex("(?:href|src)=\"([^\"]+)\"")]
    private static partial Regex LinkPattern();

    [GeneratedRegex("\"#/components/schemas/([^\"/]+)")]
    private static partial Regex ReferencePattern();
}
