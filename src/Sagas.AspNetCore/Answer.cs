using System.Text.Encodings.Web;
using System.Text.Json;
using Microsoft.AspNetCore.Http;

namespace Sagas.AspNetCore;

/// <summary>Writes answers straight into the response; payloads go out as they are, never through objects.</summary>
internal static class Answer
{
    // Readable text: answers are JSON with nosniff, never part of a page.
    public static readonly JsonWriterOptions Json = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, SkipValidation = true };

    public static async Task JsonAsync(HttpContext http, int status, Action<Utf8JsonWriter> write, string contentType = "application/json")
    {
        http.Response.StatusCode = status;
        http.Response.ContentType = contentType;
        await using (var json = new Utf8JsonWriter(http.Response.BodyWriter, Json)) write(json);
        await http.Response.BodyWriter.FlushAsync(http.RequestAborted);
    }

    public static Task TextAsync(HttpContext http, string text, string contentType)
    {
        http.Response.ContentType = contentType + "; charset=utf-8";
        return http.Response.WriteAsync(text, http.RequestAborted);
    }

    /// <summary>No cache may keep an answer, and no browser may take it for anything but what it says it is.</summary>
    public static void Protect(HttpContext http)
    {
        http.Response.Headers.XContentTypeOptions = "nosniff";
        http.Response.Headers.CacheControl = "no-store";
    }
}
