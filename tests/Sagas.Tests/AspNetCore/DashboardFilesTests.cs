using System.Text.RegularExpressions;
using Microsoft.AspNetCore.Builder;
using Sagas.AspNetCore;
using Shouldly;
using Xunit;

namespace Sagas.Tests.AspNetCore;

/// <summary>The dashboard's files as the server hands them out; where it was not built, the page that says so.</summary>
public sealed partial class DashboardFilesTests
{
    [Fact]
    public async Task The_page_is_at_the_root_with_a_strict_policy_and_asked_for_again()
    {
        await using var api = await ApiHost.StartAsync();
        var page = await api.Get("/");
        page.Status.ShouldBe(200);
        page.Header("Content-Type").ShouldBe("text/html; charset=utf-8");
        page.Header("X-Content-Type-Options").ShouldBe("nosniff");
        var policy = page.Header("Content-Security-Policy")!;
        policy.ShouldContain("default-src 'none'");
        policy.ShouldContain("frame-ancestors 'none'");
        policy.ShouldNotContain("unsafe");
        page.Text.ShouldNotContain("http://");
        page.Text.ShouldNotContain("https://");
        InlinePattern().IsMatch(page.Text).ShouldBeFalse("nothing inline: the policy would stop it");
        (await api.Send(HttpMethod.Post, "/")).Status.ShouldBe(405);
    }

    [Fact]
    public async Task Every_file_that_the_page_links_to_is_there_under_any_path_base()
    {
        await using var api = await ApiHost.StartAsync(map: app =>
        {
            app.UsePathBase("/base");
            app.UseRouting();
            app.MapGroup("/sub").MapSagas();
        });
        (await api.Get("/base/sub")).Header("Location").ShouldBe("/base/sub/");
        var page = await api.Get("/base/sub/");
        page.Status.ShouldBe(200);
        foreach (Match link in LinkPattern().Matches(page.Text))
        {
            link.Groups[1].Value.ShouldNotStartWith("/");
            var file = await api.Get("/base/sub/" + link.Groups[1].Value);
            file.Status.ShouldBe(200, link.Value);
            if (!link.Value.Contains("assets/", StringComparison.Ordinal)) continue;
            file.Header("Cache-Control").ShouldBe("public, max-age=31536000, immutable");
            var packed = await api.Send(HttpMethod.Get, "/base/sub/" + link.Groups[1].Value, null, ("Accept-Encoding", "gzip"));
            packed.Header("Content-Encoding").ShouldBe("gzip");
            (await api.Send(HttpMethod.Get, "/base/sub/" + link.Groups[1].Value, null, ("If-None-Match", file.Header("ETag")!))).Status.ShouldBe(304);
        }
    }

    [Fact]
    public async Task A_host_that_has_a_page_of_its_own_at_the_root_keeps_it()
    {
        await using var api = await ApiHost.StartAsync(map: app =>
        {
            app.MapSagas();
            app.MapGet("/", () => "mine");
        });
        (await api.Get("/")).Text.ShouldBe("mine");
        (await api.Get("/api/v1/sagas")).Status.ShouldBe(200);
    }

    [Fact]
    public async Task No_other_origin_may_read_an_answer()
    {
        await using var api = await ApiHost.StartAsync();
        foreach (var path in new[] { "/", "/api/v1/sagas", "/metrics" })
            (await api.Send(HttpMethod.Get, path, null, ("Origin", "http://elsewhere.example"))).Header("Access-Control-Allow-Origin").ShouldBeNull();
    }

    [GeneratedRegex("(?:href|src)=\"(?!#)([^\"]+)\"")]
    private static partial Regex LinkPattern();

    [GeneratedRegex("<style|style=|<script>|<script(?![^>]*src=)|\\son[a-z]+=")]
    private static partial Regex InlinePattern();
}
